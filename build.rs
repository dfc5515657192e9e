//! Lists the files of `shaders/`, so that the program can write all of them: `gpu::shader::sources`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry of a folder").path();
        match path.is_dir() {
            true => below(&path, found),
            false => found.push(path),
        }
    }
}

fn main() {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("shaders");
    let mut files = Vec::new();
    below(&root, &mut files);
    files.sort();
    let mut list = String::from("[\n");
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "wgsl") && !p.starts_with(root.join("lib"))) {
        let stem = path.strip_prefix(&root).expect("below the folder").with_extension("");
        // Stems have slashes on every system.
        let stem = stem.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        writeln!(list, "Source {{ name: {stem:?}, text: include_str!({:?}) }},", path.display().to_string()).expect("a string");
    }
    list.push(']');
    let out = Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("shaders.rs");
    std::fs::write(&out, list).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
}
