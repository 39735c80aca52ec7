//! For the feature `libtorch`: binaries find the library where it was at build time, and keep its CUDA
//! half. Nothing in the program names a symbol of that half (it registers itself when it is loaded), so a
//! linker that drops what is not needed would leave the GPU out. Shared with taggram-cli.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(folder) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    if folder.join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch_cuda");
    }
}
