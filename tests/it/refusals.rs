//! What users and machines get wrong, through the command: one clear line that names file, tensor or adapter, exit status 2, no panic.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::shared::complaints;

fn anyfold(args: &[&str], file: Option<&Path>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).args(args).args(file).output().unwrap()
}

/// The refusal's line; `verify` prints its table besides, on standard output.
fn refused(out: &Output, said: &[&str]) {
    let error = complaints(out);
    assert_eq!(out.status.code(), Some(2), "{error}{}", String::from_utf8_lossy(&out.stdout));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains("panicked") && said.iter().all(|part| error.contains(part)), "{said:?} is not said in: {error}");
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/primitives/linear_small.safetensors")
}

/// The golden file with its tensors changed: each as name, type, shape and bytes, or left out.
type Change<'a> = &'a dyn Fn(&str, Dtype, Vec<usize>, Vec<u8>) -> Option<(Dtype, Vec<usize>, Vec<u8>)>;

fn changed(to: &Path, module: Option<&str>, change: Change) {
    let bytes = std::fs::read(golden()).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut meta = header.metadata().clone().unwrap();
    meta.extend(module.map(|m| ("module".to_owned(), m.to_owned())));
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let kept = all.tensors().into_iter().filter_map(|(name, v)| {
        change(&name, v.dtype(), v.shape().to_vec(), v.data().to_vec()).map(|(dtype, shape, data)| (name, dtype, shape, data))
    });
    let kept: Vec<_> = kept.collect();
    let views = kept.iter().map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(to, safetensors::serialize(views, Some(meta)).unwrap()).unwrap();
}

#[test]
fn adapters_that_are_not_there_or_cannot_do_the_work() {
    for command in
        [&["devices", "--adapter", "colour"][..], &["bench", "ops", "--adapter", "colour"], &["inspect", "step", "--adapter", "99"]]
    {
        refused(&anyfold(command, None), &["no adapter", "there are"]);
    }
    let file = golden();
    refused(&anyfold(&["verify", "--adapter", "colour"], Some(&file)), &["no adapter `colour`"]);
    let none = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyfold"));
        // Vulkan's loader finds no driver in an empty list of drivers.
        command.args(args).env("VK_DRIVER_FILES", "/nowhere.json").env("VK_ICD_FILENAMES", "/nowhere.json").output().unwrap()
    };
    if cfg!(target_os = "linux") {
        refused(&none(&["devices"]), &["no Vulkan, Metal or DX12 adapter", "install"]);
        refused(&none(&["inspect", "step"]), &["no Vulkan, Metal or DX12 adapter", "install"]);
    }
    let devices = String::from_utf8_lossy(&anyfold(&["devices"], None).stdout).into_owned();
    if !devices.contains("cooperative matrices") {
        refused(&anyfold(&["verify", "--family", "cooperative"], Some(&file)), &["cooperative", "try `tiled`"]);
    }
    let out = anyfold(&["verify", "--family", "colour"], Some(&file));
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stderr));
    refused(&anyfold(&["verify", "--limit", "binding=x"], Some(&file)), &["--limit binding=x", "64KiB"]);
}

#[test]
fn golden_files_that_are_damaged_or_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.safetensors");
    let name = path.to_str().unwrap();
    let verify = || anyfold(&["verify"], Some(&path));
    let keep = |_: &str, dtype, shape, data| Some((dtype, shape, data));
    let whole = std::fs::read(golden()).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        refused(&verify(), &[name, "not a whole safetensors file"]);
    }
    changed(&path, None, &|n, dtype, shape, data| match n {
        "in:x" => Some((Dtype::F64, shape, [data.clone(), data].concat())),
        _ => Some((dtype, shape, data)),
    });
    refused(&verify(), &[name, "in:x", "F64"]);
    changed(&path, None, &|n, dtype, shape, data| match n {
        "in:x" => Some((Dtype::I32, shape, data)),
        _ => Some((dtype, shape, data)),
    });
    refused(&verify(), &[name, "i32"]);
    changed(&path, None, &|n, dtype, shape, data| (n != "in:x").then_some((dtype, shape, data)));
    refused(&verify(), &[name, "in:x", "missing"]);
    let weights = SafeTensors::deserialize(&whole).unwrap().names().iter().find(|n| n.starts_with("param:")).unwrap().to_string();
    changed(&path, None, &|n, dtype, shape, data| (n != weights).then_some((dtype, shape, data)));
    refused(&verify(), &[name, weights.trim_start_matches("param:")]);
    changed(&path, Some("colour"), &keep);
    refused(&verify(), &["colour", "newer version"]);
    changed(&path, None, &|n, dtype, shape: Vec<usize>, data: Vec<u8>| match n {
        "in:x" => {
            let width = shape[shape.len() - 1];
            let words = data.len() / 4 / width * (width - 1) * 4;
            Some((dtype, [&shape[..shape.len() - 1], &[width - 1]].concat(), data[..words].to_vec()))
        }
        _ => Some((dtype, shape, data)),
    });
    refused(&verify(), &[name, "expected"]);
    refused(&anyfold(&["verify"], Some(&folder.path().join("nothing"))), &["nothing"]);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&anyfold(&["verify"], Some(&empty)), &["no golden case"]);
}
