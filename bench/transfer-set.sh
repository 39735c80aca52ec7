#!/usr/bin/env bash
# Makes the transfer set of recipes/default.toml: 30-second clips of freely licensed music out of
# Debian's packages of games, of music made by chance, and of changed train songs; their feature maps, and what musicnn
# says of them. No clip has a genre.
#
#   bench/transfer-set.sh [FOLDER] [DATASET] [EVERY]    # default runs/transfer ../shared/data/gtzan; EVERY: see transfer_clips.py;
#                                               # needs apt-get, ffmpeg, mma, fluidsynth, fluid-soundfont-gm, about 25 GB,
#                                               # and musicnn imported (taggram model import …)
#
# The audio is fetched by whoever runs this and is never part of the repository; the packages and
# their versions are written to FOLDER/packages.txt, the source of each clip to FOLDER/clips.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
out="$(realpath -m "${1:-runs/transfer}")" dataset="${2:-../shared/data/gtzan}"
taggram="${TAGGRAM:-target/release/taggram}"
packages=(
    0ad-data ardentryst asc-music berusky2-data boswars-data btanks-data caveexpress-data
    colobot-common-sounds cube2-data drascula-music endless-sky-data enigma-data
    extremetuxracer-data fb-music-high fillets-ng-data flare-game flight-of-the-amazon-queen
    freecol freedroidrpg-data freeorion-data fretsonfire-songs-muldjord fretsonfire-songs-sectoid
    frozen-bubble-data glob2-data hedgewars-data holotz-castle-data hyperrogue-music lincity-ng-data
    lugaru-data megaglest-data mrrescue naev-data neverball-data nexuiz-music noiz2sa-data
    openarena-081-misc openarena-data parsec47-data pingus-data planetblupi-music-ogg
    plee-the-bear-data powermanga-data redeclipse-data singularity-music starfighter-data
    supertux-data supertuxkart-data teeworlds-data tomatoes-data torus-trooper-data
    trigger-rally-data ufoai-music unknown-horizons warmux-data warzone2100-music
    wesnoth-1.16-music widelands-data wizznic-data wordwarvi-sound xblast-tnt-musics xmoto-data
    zaz-data
)
mkdir -p "$out/packages" "$out/files" "$out/clips/music" "$out/clips/train"
(cd "$out/packages" && apt-get download -q "${packages[@]}")
ls "$out/packages" > "$out/packages.txt"
for package in "$out"/packages/*.deb; do
    folder="$out/files/$(basename "$package" | cut -d_ -f1)"
    [ -d "$folder" ] && continue
    mkdir "$folder"
    dpkg-deb --fsys-tarfile "$package" | tar xf - -C "$folder" --wildcards --ignore-case \
        '*.ogg' '*.mp3' '*.opus' '*.flac' '*.oga' '*.wav' '*.xm' '*.mod' '*.it' '*.s3m' '*.pk3' '*.zip' \
        2> /dev/null || true # tar says so when a package has none of a kind
    find "$folder" \( -name '*.pk3' -o -name '*.zip' \) | while read -r archive; do
        unzip -q -o "$archive" '*.ogg' '*.mp3' '*.wav' -d "$archive.d" 2> /dev/null || true
        rm "$archive"
    done
done
python3 bench/transfer_clips.py "$out" "$dataset" ${3:+"$3"}
python3 bench/transfer_midi.py "$out"
"$taggram" dataset extract "$out/clips" --recipe recipes/default.toml --out "$out/maps"
mkdir -p "$out/taggrams"
"$taggram" tags "$out/clips" --model msd-musicnn --format npy --out "$out/taggrams/musicnn.npy"
