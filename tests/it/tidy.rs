//! The tree is the architecture: imports go upwards only, files stay short, every op has its shader.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::shared::left_out;

/// Modules of one line are on one floor and may use each other; a module imports from its own floor and those above.
const FLOORS: [&[&str]; 13] = [
    &["error", "hash", "tensor"],
    &["protein", "io", "data", "search"],
    &["gpu"],
    &["op"],
    &["graph"],
    &["ops"],
    &["nn"],
    &["model", "loss"],
    &["train", "predict"],
    &["verify"],
    &["bench"],
    &["cli"],
    &["lib", "main"],
];

/// Longest Rust file: 500 lines and a fifth; longest shader.
const RUST_LINES: usize = 600;
const SHADER_LINES: usize = 250;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with this extension, as paths from the crate's root; none when the folder is not there.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    below(&root().join(folder), &mut found);
    found.retain(|p| p.extension().is_some_and(|e| e == extension));
    found.sort();
    found.into_iter().map(|p| p.strip_prefix(root()).unwrap().to_path_buf()).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|f| f.contains(&module))
}

/// The module of the first level that a file belongs to.
fn module_of(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().iter().next().unwrap().to_string_lossy().into_owned();
    first.strip_suffix(".rs").map(str::to_owned).unwrap_or(first)
}

/// Modules named after `crate::` outside comments, those in braces (`use crate::{io, data::x}`) too; and those that `super::` reaches at the
/// first level.
fn imports(path: &Path, source: &str) -> BTreeSet<String> {
    let code: String = source.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let depth = path.components().count() - 2 + usize::from(!path.ends_with("mod.rs"));
    let to_root = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    let starts = code.match_indices("crate::").chain(code.match_indices(&to_root).filter(|(at, _)| !code[..*at].ends_with("super::")));
    for (at, start) in starts {
        let rest = &code[at + start.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => first_level(group),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name != "super" {
                found.insert(name);
            }
        }
    }
    found
}

/// The parts between a brace's commas, without what inner braces hold.
fn first_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts
}

/// What a file imports against the order of the floors.
fn wrong_imports(path: &Path, source: &str) -> Vec<String> {
    let own = module_of(path);
    let Some(own_floor) = floor(&own) else { return vec![format!("{}: module `{own}` has no floor", path.display())] };
    let below = |name: &String| floor(name).is_some_and(|f| f > own_floor || f == own_floor && own_floor > 1 && *name != own);
    imports(path, source).into_iter().filter(below).map(|name| format!("{} imports `{name}`", path.display())).collect()
}

#[test]
fn modules_import_from_floors_above_only() {
    let sources = files("src", "rs");
    assert!(sources.len() > 50);
    let wrong: Vec<String> = sources.iter().flat_map(|p| wrong_imports(p, &text(p))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_import_is_noticed() {
    let wrong = |path: &str, source: &str| wrong_imports(Path::new(path), source).len();
    assert_eq!(wrong("src/protein/x.rs", "use crate::cli::stop;\nlet a = crate::gpu::f();"), 2);
    assert_eq!(wrong("src/protein/x.rs", "use crate::{io::text, data::{self, verify}, verify};"), 1);
    assert_eq!(wrong("src/protein/metrics/x.rs", "use super::super::super::gpu::Device;\nuse super::gpu;"), 1);
    assert_eq!(wrong("src/model/x.rs", "use crate::nn::linear;\nuse crate::loss::fape; // crate::cli"), 1);
    assert_eq!(wrong("src/ops/mod.rs", "use super::nn::x;\nuse crate::ops::y;"), 1);
    assert_eq!(wrong("src/colour.rs", ""), 1);
    assert_eq!(wrong("src/data/x.rs", "use crate::io;\nuse crate::error::Result;\nuse super::gpu;"), 0);
}

/// The fuzz targets' package compiles the reading modules by themselves: it must name every module that these import.
#[test]
fn the_fuzz_package_has_what_its_modules_import() {
    let library = text(Path::new("fuzz/src/lib.rs"));
    let named: BTreeSet<String> = library.lines().filter_map(|l| Some(l.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned())).collect();
    assert!(named.len() >= 5 && named.contains("io"), "{named:?}");
    let sources = files("src", "rs").into_iter().filter(|p| named.contains(&module_of(p)));
    for path in sources {
        let missing: Vec<String> = imports(&path, &text(&path)).into_iter().filter(|m| floor(m).is_some() && !named.contains(m)).collect();
        assert!(missing.is_empty(), "{} imports {missing:?}, which fuzz/src/lib.rs lacks", path.display());
    }
}

#[test]
fn files_are_short() {
    let sources = ["src", "tests"].into_iter().flat_map(|f| files(f, "rs")).map(|p| (p, RUST_LINES));
    let shaders = files("shaders", "wgsl").into_iter().map(|p| (p, SHADER_LINES));
    for (path, most) in sources.chain(shaders) {
        let n = text(&path).lines().count();
        assert!(n <= most, "{} has {n} lines, more than {most}: split it by idea", path.display());
    }
}

/// `src/ops/<group>/<op>.rs` and `shaders/<group>/<op>.wgsl` come in pairs; `shaders/lib` is what they import. An op whose kernels cannot be
/// one module (some devices refuse what others need) has further families in `shaders/<group>/<op>/`.
#[test]
fn every_op_has_its_shader_and_every_shader_its_op() {
    let stems = |folder: &str, extension: &str| -> BTreeSet<PathBuf> {
        let inside = |p: PathBuf| p.strip_prefix(folder).unwrap().with_extension("");
        files(folder, extension)
            .into_iter()
            .filter(|p| !p.ends_with("mod.rs"))
            .map(inside)
            .filter(|p| p.components().count() == 2)
            .collect()
    };
    let (ops, mut shaders) = (stems("src/ops", "rs"), stems("shaders", "wgsl"));
    shaders.retain(|p| !p.starts_with("lib"));
    for family in files("shaders", "wgsl").iter().filter(|p| p.components().count() > 3) {
        let op = family.strip_prefix("shaders").unwrap().parent().unwrap().to_path_buf();
        assert!(ops.contains(&op), "{} belongs to no op", family.display());
    }
    if ops.is_empty() && shaders.is_empty() {
        left_out("there is no op yet");
    }
    assert_eq!(ops, shaders, "ops and shaders without a twin");
}
