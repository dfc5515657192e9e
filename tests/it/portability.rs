//! Every shader, in every storage type: parses, validates, keeps the portable floor, and translates to SPIR-V, MSL and HLSL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyfold::gpu::shader::{Source, Variant, assemble, reflect, storages};
use anyfold::tensor::DType;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, SubgroupOperationSet, ValidationFlags, Validator};

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the shader folder").map(|e| e.expect("an entry").path()) {
        match entry.is_dir() {
            true if entry.ends_with("lib") => {}
            true => files(&entry, out),
            false => out.push(entry),
        }
    }
}

/// All shader files as sources; the few bytes are leaked because sources are static in the program.
fn sources() -> Vec<&'static Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    let source = |path: &PathBuf| -> &'static Source {
        let stem = path.strip_prefix(&root).expect("below the folder").with_extension("").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a readable shader");
        Box::leak(Box::new(Source { name: stem.leak(), text: text.leak() }))
    };
    all.iter().map(source).collect()
}

fn variant(source: &'static Source, dtype: DType) -> Variant {
    let float = |name: &&'static str| !source.text.contains(&format!("#storage {name} i32"));
    let types: BTreeMap<_, _> = storages(source).into_iter().filter(float).map(|n| (n, dtype)).collect();
    Variant { name: source.name, types, alias: BTreeMap::new() }
}

fn translate(name: &str, text: &str) {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let constants = naga::back::PipelineConstants::default();
    for point in &module.entry_points {
        let label = format!("{name} {}", point.name);
        let invocations: u32 = point.workgroup_size.iter().product();
        assert!((1..=256).contains(&invocations), "{label}: {invocations} invocations, the portable limit is 256");
        let (module, info) =
            naga::back::pipeline_constants::process_overrides(&module, &info, Some((naga::ShaderStage::Compute, &point.name)), &constants)
                .unwrap_or_else(|e| panic!("{label}: {e}"));
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= 16 << 10, "{label}: {bytes} bytes of workgroup memory, the portable limit is 16 KiB");
        let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: point.name.clone() };
        spv::write_vec(&module, &info, &spv::Options { lang_version: (1, 3), ..Default::default() }, Some(&pipeline))
            .unwrap_or_else(|e| panic!("{label} to SPIR-V: {e}"));
        let msl_options = msl::Options { lang_version: (2, 3), fake_missing_bindings: true, ..Default::default() };
        msl::write_string(&module, &info, &msl_options, &Default::default()).unwrap_or_else(|e| panic!("{label} to MSL: {e}"));
        let hlsl_options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, fake_missing_bindings: true, ..Default::default() };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &hlsl_options, &Default::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{label} to HLSL: {e}"));
    }
}

#[test]
fn every_shader_translates_for_every_backend() {
    let all = sources();
    assert!(!all.is_empty(), "no shader found");
    for source in all {
        for dtype in [DType::F32, DType::Bf16, DType::F16] {
            let text = assemble(source, &variant(source, dtype));
            let name = format!("{} {dtype}", source.name);
            // `reflect` asserts the limit of eight storage buffers for each entry point.
            assert!(!reflect(&name, &text).entries.is_empty(), "{name} has no entry point");
            translate(&name, &text);
        }
    }
}
