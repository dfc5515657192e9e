//! Every entry point in every specialisation: parses, validates, keeps the portable floor, translates to SPIR-V, MSL and HLSL; and what
//! browsers' compiler (tint) and Khronos' validator (spirv-val) say of it, where they are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyfold::gpu::device::common;
use anyfold::gpu::program::variant_of;
use anyfold::gpu::recorder::Family;
use anyfold::gpu::shader::{Source, Variant, assemble, for_naga, reflect, sources};
use anyfold::graph::Saving;
use anyfold::graph::lists::Lists;
use anyfold::loss::total::Weights;
use anyfold::model::features::Extents;
use anyfold::model::presets::preset;
use anyfold::tensor::DType;
use anyfold::train::lists::{Recipe, prediction, training};
use naga::back::{PipelineConstants, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
use rayon::prelude::*;

use crate::shared::left_out;

/// A module as drivers get it: a source in some storage types, with the values of `override` constants that it is run with.
struct Specialised {
    source: &'static Source,
    variant: Variant,
    /// Entry point and constants.
    runs: Vec<(Option<&'static str>, PipelineConstants)>,
}

/// Every file in every storage type, every boolean constant both ways, head widths of one group and of eight.
fn plain() -> Vec<Specialised> {
    let types = [DType::F32, DType::Bf16, DType::F16];
    let one = |source: &'static Source, dtype| {
        let variant = Variant::plain(source, dtype);
        let module = naga::front::wgsl::parse_str(&for_naga(&assemble(source, &variant))).expect(source.name);
        let mut runs = vec![PipelineConstants::default()];
        for (_, constant) in module.overrides.iter() {
            let boolean = module.types[constant.ty].inner == naga::TypeInner::Scalar(naga::Scalar::BOOL);
            let values = if boolean { [0.0, 1.0] } else { [1.0, 8.0] };
            let name = constant.name.clone().expect("constants are named");
            let with = |run: &PipelineConstants, v| run.iter().map(|(n, v)| (n.clone(), *v)).chain([(name.clone(), v)]).collect();
            runs = runs.iter().flat_map(|run| values.map(|v| with(run, v))).collect();
        }
        // Head widths of queries and of values are independent only in global attention; one group beside eight says nothing new.
        runs.retain(|run| run.get("DG").is_none_or(|dg| Some(dg) == run.get("VG")));
        Specialised { source, variant, runs: runs.into_iter().map(|run| (None, run)).collect() }
    };
    sources().iter().flat_map(|s| types.map(|dtype| one(s, dtype))).collect()
}

/// What training and prediction record: storage types side by side, bindings that share memory.
fn recorded() -> Vec<Specialised> {
    let model = preset("tiny").expect("a preset");
    let extents = Extents { n_res: 64, n_clust: 16, n_extra: 32, n_templ: 4 };
    let mut found: BTreeMap<(&'static str, Variant), (&'static Source, BTreeSet<String>, Vec<_>)> = BTreeMap::new();
    for storage in [DType::F32, DType::Bf16] {
        let recipe = Recipe {
            model: model.clone(),
            extents,
            storage,
            weights: Weights::fine_tuning(),
            dropout: true,
            scaled: false,
            saving: Saving::default(),
        };
        let lists = [training(&recipe), prediction(&model, extents, storage)];
        for family in [Family::Subgroup, Family::Tiled] {
            let mut traits = common().traits;
            (traits.family, traits.subgroup) = (family, 8);
            for joined in lists.iter().map(|l| Lists::of(&traits, &l.graphs())) {
                for launch in joined.launches() {
                    let entry =
                        found.entry((launch.source.name, variant_of(launch))).or_insert((launch.source, BTreeSet::new(), Vec::new()));
                    let constants: PipelineConstants = launch.constants.iter().map(|(n, v)| (n.to_string(), *v)).collect();
                    if entry.1.insert(format!("{} {:?}", launch.entry, launch.constants)) {
                        entry.2.push((Some(launch.entry), constants));
                    }
                }
            }
        }
    }
    found.into_iter().map(|((_, variant), (source, _, runs))| Specialised { source, variant, runs }).collect()
}

fn cooperative(text: &str) -> bool {
    text.contains("enable wgpu_cooperative_matrix;")
}

/// Keeps the floor; gives the SPIR-V of every entry point in every specialisation, equal ones once.
fn translate(s: &Specialised, text: &str) -> BTreeMap<Vec<u32>, String> {
    let name = format!("{} {:?}", s.source.name, s.variant.types);
    // `reflect` asserts the limit of eight storage buffers for each entry point.
    assert!(!reflect(&name, &for_naga(text)).entries.is_empty(), "{name} has no entry point");
    let module = naga::front::wgsl::parse_str(&for_naga(text)).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let mut words = BTreeMap::new();
    for point in &module.entry_points {
        let invocations: u32 = point.workgroup_size.iter().product();
        assert!((1..=256).contains(&invocations), "{name} {}: {invocations} invocations, the portable limit is 256", point.name);
        for (_, constants) in s.runs.iter().filter(|(entry, _)| entry.is_none_or(|e| e == point.name)) {
            let mut shown: Vec<_> = constants.iter().collect();
            shown.sort_by_key(|(n, _)| n.as_str());
            let label = format!("{name} {} {shown:?}", point.name);
            let (module, info) = naga::back::pipeline_constants::process_overrides(
                &module,
                &info,
                Some((naga::ShaderStage::Compute, &point.name)),
                constants,
            )
            .unwrap_or_else(|e| panic!("{label}: {e}"));
            let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
            let bytes: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum();
            assert!(bytes <= 16 << 10, "{label}: {bytes} bytes of workgroup memory, the portable limit is 16 KiB");
            let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: point.name.clone() };
            let options = spv::Options { lang_version: (1, 3), ..Default::default() };
            let spirv = spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap_or_else(|e| panic!("{label} to SPIR-V: {e}"));
            // A specialisation that changes nothing about this entry point is translated once.
            if let std::collections::btree_map::Entry::Vacant(new) = words.entry(spirv) {
                others(&label, &module, &info, cooperative(text));
                new.insert(label);
            }
        }
    }
    words
}

/// Metal and, but for cooperative matrices, which naga does not write there, DX12.
fn others(label: &str, module: &naga::Module, info: &ModuleInfo, cooperative: bool) {
    let msl_options = msl::Options { lang_version: (2, 3), fake_missing_bindings: true, ..Default::default() };
    msl::write_string(module, info, &msl_options, &Default::default()).unwrap_or_else(|e| panic!("{label} to MSL: {e}"));
    if cooperative {
        return;
    }
    let hlsl_options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, fake_missing_bindings: true, ..Default::default() };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &hlsl_options, &Default::default())
        .write(module, info, None)
        .unwrap_or_else(|e| panic!("{label} to HLSL: {e}"));
}

/// Whether a program is installed; what is left out without it is said.
fn installed(program: &str) -> bool {
    let there = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        left_out(&format!("{program} is not on the PATH: shaders are not held against it"));
    }
    there
}

/// What a checker says against a file: nothing when it is content.
fn objection(program: &str, options: &[&str], path: &Path) -> Option<String> {
    let out = Command::new(program).args(options).arg(path).output().expect(program);
    let said = || format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (!out.status.success()).then(|| said().lines().take(12).collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_shader_translates_for_every_backend_and_checkers_accept_it() {
    let (tint, spirv_val) = (installed("tint"), installed("spirv-val"));
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<Specialised> = plain().into_iter().chain(recorded()).collect();
    assert!(all.len() > 150, "{} modules", all.len());
    let check = |(i, s): (usize, &Specialised)| -> (usize, Vec<String>) {
        let text = assemble(s.source, &s.variant);
        let spirv = translate(s, &text);
        let mut objections = Vec::new();
        if tint && !cooperative(&text) {
            let path = folder.path().join(format!("{i}.wgsl"));
            std::fs::write(&path, &text).expect("written");
            let said = objection("tint", &["--format", "wgsl", "-o", "/dev/null"], &path);
            objections.extend(said.map(|said| format!("{} {:?}: tint: {said}", s.source.name, s.variant.types)));
        }
        for (k, (words, label)) in spirv.iter().enumerate().filter(|_| spirv_val) {
            let path = folder.path().join(format!("{i}.{k}.spv"));
            std::fs::write(&path, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).expect("written");
            let said = objection("spirv-val", &["--target-env", "vulkan1.1"], &path);
            // Older validators do not know cooperative matrices at all: capability 6022 is CooperativeMatrixKHR.
            let unknown = |said: &String| cooperative(&text) && said.contains("Invalid capability operand: 6022");
            if said.as_ref().is_some_and(unknown) {
                left_out(&format!("spirv-val is too old for cooperative matrices: {} is not held against it", s.source.name));
                break;
            }
            objections.extend(said.map(|said| format!("{label}: spirv-val: {said}")));
            std::fs::remove_file(&path).expect("removed");
        }
        (spirv.len(), objections)
    };
    let judged: Vec<_> = all.par_iter().enumerate().map(check).collect();
    let objections: Vec<&String> = judged.iter().flat_map(|(_, o)| o).collect();
    let entries: usize = judged.iter().map(|(n, _)| n).sum();
    println!("{} modules, {entries} different entry points", all.len());
    assert!(
        objections.is_empty(),
        "{} objections\n{}",
        objections.len(),
        objections.iter().map(|o| o.as_str()).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn every_source_is_written_for_browsers() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = Command::new(env!("CARGO_BIN_EXE_anyfold")).args(["inspect", "shaders", "--out"]).arg(folder.path()).output().expect("runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for source in sources() {
        assert!(shaders.join(format!("{}.wgsl", source.name)).exists(), "{}", source.name);
        let written =
            ["f32", "bf16", "f16", "i32"].map(|t| std::fs::read_to_string(folder.path().join(format!("{}.{t}.wgsl", source.name))));
        let written: Vec<String> = written.into_iter().flatten().collect();
        assert!(matches!(written.len(), 1 | 3), "{}: {} files", source.name, written.len());
        let uses = written[0].contains("subgroup_invocation_id");
        assert_eq!(uses, written[0].starts_with("enable subgroups;"), "{}", source.name);
    }
}

/// The checkers notice what they are there for.
#[test]
fn checkers_refuse_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = sources().iter().find(|s| s.name == "basic/gemm/subgroup").expect("a shader with subgroups");
    let text = assemble(source, &Variant::plain(source, DType::F32));
    let path = folder.path().join("wrong.wgsl");
    std::fs::write(&path, for_naga(&text)).expect("written");
    if installed("tint") {
        let said = objection("tint", &["--format", "wgsl", "-o", "/dev/null"], &path).expect("subgroups are not enabled");
        assert!(said.contains("subgroup"), "{said}");
    }
    let runs = vec![(None, PipelineConstants::default())];
    let whole = translate(&Specialised { source, variant: Variant::plain(source, DType::F32), runs }, &text);
    let words = whole.keys().next().expect("an entry point");
    // Without its last instruction a function does not end.
    std::fs::write(&path, words[..words.len() - 1].iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).expect("written");
    if installed("spirv-val") {
        assert!(objection("spirv-val", &["--target-env", "vulkan1.1"], &path).is_some());
    }
}
