#!/usr/bin/env bash
# The Dockerfile's run stage without a container engine, in a bare root (needs root):
#   deploy/check-image.sh target/release/taggram [SONG]
# An empty folder gets what the run stage copies and the libraries that its base image brings for it; then the command
# of the Dockerfile runs in it as user 65532, on a read-only root.
set -euo pipefail
binary=$(realpath "$1")
song=${2:+$(realpath "$2")}
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d)
chmod 755 "$root"
trap 'umount "$root" 2> /dev/null || true; rm -rf "$root"' EXIT

# What the run stage copies, where it copies it to.
target=$(awk '/^COPY --from=build/ { print $4 }' "$here/Dockerfile")
user=$(awk '/^USER/ { print $2 }' "$here/Dockerfile")
entry=$(grep '^ENTRYPOINT' "$here/Dockerfile" | tr -d '[]",' | cut -d' ' -f2-)
command=$(grep '^CMD' "$here/Dockerfile" | tr -d '[]",' | cut -d' ' -f2- | sed 's/0.0.0.0:5000/127.0.0.1:5055/')
install -D -m 755 "$binary" "$root$target"
# Of the base image only the dynamic linker and what the binary names is needed: nothing else is there.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do install -D -m 755 "$library" "$root$library"; done
mkdir -p "$root/proc" "$root/dev"
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
find "$root" -type f | sed "s|$root||"

chroot --userspec="$user" "$root" "/usr/local/bin/$entry" $command &
service=$!
ask() { chroot --userspec="$user" "$root" /usr/local/bin/taggram serve --check 127.0.0.1:5055; }
for _ in $(seq 50); do ask 2> /dev/null && break; sleep 0.1; done
ask
echo "healthy as user $(ps -o uid= -p "$service" | tr -d ' ')"
[ -z "$song" ] || curl -sS --fail-with-body -F "audio=@$song" http://127.0.0.1:5055/
echo
chroot --userspec="$user" "$root" /usr/local/bin/taggram classify /nothing 2>&1 | head -1 || true
kill -TERM "$service"
wait "$service"
echo "stopped with $?"
