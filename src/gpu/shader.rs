//! Shader assembly and reflection: plain WGSL in, a module with generated storage accessors and checked bindings out.
//!
//! A shader file says `#import NAME` for a part of `shaders/lib`, and `#storage NAME` (`#storage NAME i32` for integers) for each storage
//! binding; lines between `#repeat i N` and `#end` stand N times, with `$i` as 0 to N-1 (naga unrolls nothing); everything else is WGSL.
//! For each binding this module generates `NAME_ld(i)` (element), `NAME_ld4(i)` (group of four) and `NAME_st4(i, v)` from the storage
//! type, with the window's base taken off, so that a kernel indexes from its view's own first element whatever is bound. `grid(id)` adds
//! the piece's first workgroup. An assembled source is in the browser's dialect: `enable` lines, its own and its imports', stand first.
//! Must not know what the kernels compute.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::tensor::DType;

/// A shader file, embedded when the crate is built.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The stem, such as `basic/layer_norm`.
    pub name: &'static str,
    /// The text as written.
    pub text: &'static str,
}

/// Every file of `shaders/` but the library, in order of name.
pub fn sources() -> &'static [Source] {
    static ALL: &[Source] = &include!(concat!(env!("OUT_DIR"), "/shaders.rs"));
    ALL
}

/// Most storage names that one file may declare (an entry point uses at most eight).
pub const MAX_STORAGES: usize = 16;

/// A file of `shaders/lib` by its stem.
macro_rules! lib {
    ($stem:literal) => {
        ($stem, include_str!(concat!("../../shaders/lib/", $stem, ".wgsl")))
    };
}

/// The importable parts of `shaders/lib`, a line each.
#[rustfmt::skip]
const LIBRARY: &[(&str, &str)] = &[
    lib!("attention"),
    lib!("attention_rows"),
    lib!("bits"),
    lib!("dropout"),
    lib!("gate"),
    lib!("gemm"),
    lib!("gemm_cooperative"),
    lib!("gemm_dropout"),
    lib!("gemm_finish"),
    lib!("gemm_masked"),
    lib!("gemm_norm"),
    lib!("gemm_raw"),
    lib!("gemm_subgroup"),
    lib!("gemm_tile_stats"),
    lib!("gemm_tiled"),
    lib!("hand_round"),
    lib!("layer_norm"),
    lib!("layer_norm_narrow"),
    lib!("philox"),
    lib!("reduce"),
    lib!("rigid"),
];

/// A uniform block and the names, types and offsets of its fields, to be compared with the shader's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UniformData {
    /// The bytes, a multiple of 16.
    pub bytes: Vec<u8>,
    /// Name, WGSL type and byte offset of each field.
    pub fields: Vec<(&'static str, &'static str, u32)>,
}

impl UniformData {
    /// No uniform block.
    pub fn none() -> Self {
        Self::default()
    }

    /// A block of scalars in order. Padding to 16 bytes is added; the shader's struct names the same fields in the same order.
    pub fn of(fields: &[(&'static str, Scalar)]) -> Self {
        let mut data = Self::default();
        for &(name, value) in fields {
            let offset = data.bytes.len() as u32;
            let (ty, word) = match value {
                Scalar::U32(v) => ("u32", v.to_le_bytes()),
                Scalar::I32(v) => ("i32", v.to_le_bytes()),
                Scalar::F32(v) => ("f32", v.to_le_bytes()),
            };
            data.bytes.extend(word);
            data.fields.push((name, ty, offset));
        }
        data.bytes.resize(data.bytes.len().next_multiple_of(16), 0);
        data
    }

    /// The same block followed by a table of [`TABLE`] rows, those beyond the given ones zero.
    pub fn table(mut self, name: &'static str, rows: &[[u32; 4]]) -> Self {
        assert!(rows.len() <= TABLE, "{} rows in a table of {TABLE}", rows.len());
        let offset = self.bytes.len();
        self.fields.push((name, "array<vec4<u32>, 256>", offset as u32));
        self.bytes.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
        self.bytes.resize(offset + TABLE * 16, 0);
        self
    }
}

/// Rows of a uniform block's table.
pub const TABLE: usize = 256;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// An unsigned word.
    U32(u32),
    /// A signed word.
    I32(i32),
    /// A float.
    F32(f32),
}

impl From<usize> for Scalar {
    fn from(v: usize) -> Self {
        Scalar::U32(u32::try_from(v).unwrap_or_else(|_| panic!("{v} does not fit a shader's u32")))
    }
}

impl From<u32> for Scalar {
    fn from(v: u32) -> Self {
        Scalar::U32(v)
    }
}

impl From<f32> for Scalar {
    fn from(v: f32) -> Self {
        Scalar::F32(v)
    }
}

/// What makes one assembled source different from another of the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    /// The file's stem.
    pub name: &'static str,
    /// The storage type of every binding that is used, by name.
    pub types: BTreeMap<&'static str, DType>,
    /// Bindings that share another's memory: accesses of the key go to the value's buffer.
    pub alias: BTreeMap<&'static str, &'static str>,
}

impl Variant {
    /// The variant that stores every float as `dtype`.
    pub fn plain(source: &'static Source, dtype: DType) -> Self {
        let types = declared(source).filter(|(_, int)| !int).map(|(name, _)| (name, dtype)).collect();
        Self { name: source.name, types, alias: BTreeMap::new() }
    }
}

/// The names declared with `#storage`, in order.
pub fn storages(source: &Source) -> Vec<&str> {
    declared(source).map(|(name, _)| name).collect()
}

/// Names and whether they are integers.
fn declared(source: &Source) -> impl Iterator<Item = (&str, bool)> {
    let lines = source.text.lines().filter_map(|l| l.strip_prefix("#storage "));
    lines.map(|l| match l.trim().split_once(' ') {
        None => (l.trim(), false),
        Some((name, "i32")) => (name, true),
        Some((name, other)) => panic!("{}: storage `{name}` is declared `{other}`; only `i32` may follow a name", source.name),
    })
}

/// The source as a browser takes it; [`for_naga`] makes of it what naga takes. Bindings that the variant does not type are taken as f32,
/// or as integers where they are declared so, for every entry point to parse.
pub fn assemble(source: &Source, variant: &Variant) -> String {
    let names = storages(source);
    let integers: Vec<&str> = declared(source).filter(|(_, int)| *int).map(|(name, _)| name).collect();
    assert!(names.len() <= MAX_STORAGES, "{}: {} storages, at most {MAX_STORAGES}", source.name, names.len());
    let mut out = String::from("struct Win { grid: vec4<u32>, base: array<vec4<u32>, 4> }\n@group(0) @binding(1) var<uniform> win: Win;\n");
    out.push_str("fn grid(id: vec3<u32>) -> vec3<u32> { return id + win.grid.xyz; }\n");
    for (slot, name) in names.iter().enumerate() {
        let plain = if integers.contains(name) { DType::I32 } else { DType::F32 };
        let dtype = variant.types.iter().find(|(n, _)| n == &name).map_or(plain, |(_, t)| *t);
        assert!((dtype == DType::I32) == (plain == DType::I32), "{}: `{name}` is declared {plain} and bound as {dtype}", source.name);
        let target = variant.alias.iter().find(|(n, _)| n == &name).map(|(_, t)| *t);
        let slot_of = |n: &str| names.iter().position(|x| *x == n).unwrap_or_else(|| panic!("{}: no storage `{n}`", source.name));
        accessors(&mut out, name, dtype, slot, target.map(|t| (t, slot_of(t))));
    }
    let mut enables = std::collections::BTreeSet::new();
    for line in unrolled(source.name, &source.text.lines().collect::<Vec<_>>()).lines() {
        if let Some(part) = line.strip_prefix("#import ") {
            let found = LIBRARY.iter().find(|(n, _)| *n == part.trim());
            let text = found.unwrap_or_else(|| panic!("{}: no library part `{part}`", source.name)).1;
            let (enable, plain): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with("enable "));
            enables.extend(enable.into_iter().map(str::to_owned));
            out.push_str(&unrolled(part, &plain));
        } else if line.starts_with("enable ") {
            enables.insert(line.to_owned());
        } else if !line.starts_with("#storage ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    enables.into_iter().map(|line| line + "\n").collect::<String>() + &out
}

/// An assembled source as naga takes it: subgroup operations without the line that a browser asks for.
pub fn for_naga(text: &str) -> String {
    text.replacen("enable subgroups;", "", 1)
}

/// The lines with every `#repeat` carried out, the outermost first.
fn unrolled(name: &str, lines: &[&str]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(head) = lines[at].strip_prefix("#repeat ") else {
            out.push_str(lines[at]);
            out.push('\n');
            at += 1;
            continue;
        };
        let mut depth = 0;
        let mut inside = |line: &&str| {
            depth += i32::from(line.starts_with("#repeat ")) - i32::from(*line == "#end");
            depth > 0
        };
        let end = at + lines[at..].iter().take_while(|l| inside(l)).count();
        let (variable, count) = head.split_once(' ').unwrap_or_else(|| panic!("{name}: `#repeat {head}` is not `#repeat NAME COUNT`"));
        let count: usize = count.trim().parse().unwrap_or_else(|e| panic!("{name}: `#repeat {head}`: {e}"));
        assert!(end < lines.len(), "{name}: `#repeat {head}` has no #end");
        for value in 0..count {
            let body: Vec<String> = lines[at + 1..end].iter().map(|l| l.replace(&format!("${variable}"), &value.to_string())).collect();
            out.push_str(&unrolled(name, &body.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        at = end + 1;
    }
    out
}

/// The declaration and the accessors of one binding; an alias has no buffer of its own.
fn accessors(out: &mut String, name: &str, dtype: DType, slot: usize, alias: Option<(&str, usize)>) {
    let (word, vector, scalar) = match dtype {
        DType::F32 => ("vec4<f32>", "vec4<f32>", "f32"),
        DType::I32 => ("vec4<i32>", "vec4<i32>", "i32"),
        DType::Bf16 | DType::F16 => ("vec2<u32>", "vec4<f32>", "f32"),
    };
    if alias.is_none() {
        writeln!(out, "@group(0) @binding({}) var<storage, read_write> {name}_buf: array<{word}>;", slot + 2).expect("writing to a string");
    }
    let (buf, slot) = alias.unwrap_or((name, slot));
    let at = format!("{buf}_buf[i - win.base[{}].{}]", slot / 4, ["x", "y", "z", "w"][slot % 4]);
    let (load, store) = match dtype {
        DType::F32 | DType::I32 => (format!("return {at};"), format!("{at} = v;")),
        DType::Bf16 => (
            format!("let w = {at}; return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));"),
            // Round to nearest, ties to even; the carry of a NaN's payload is kept from becoming an infinity by setting a quiet bit.
            format!(
                "let b = bitcast<vec4<u32>>(v); let nan = (b & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u); \
                 let r = select((b + vec4<u32>(0x7fffu) + ((b >> vec4<u32>(16u)) & vec4<u32>(1u))) >> vec4<u32>(16u), vec4<u32>(0x7fc0u), nan); \
                 {at} = vec2<u32>(r.x | (r.y << 16u), r.z | (r.w << 16u));"
            ),
        ),
        DType::F16 => (
            format!("let w = {at}; return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));"),
            format!("{at} = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));"),
        ),
    };
    writeln!(out, "fn {name}_ld4(i: u32) -> {vector} {{ {load} }}").expect("writing to a string");
    writeln!(out, "fn {name}_ld(i: u32) -> {scalar} {{ return {name}_ld4(i >> 2u)[i & 3u]; }}").expect("writing to a string");
    writeln!(out, "fn {name}_st4(i: u32, v: {vector}) {{ {store} }}").expect("writing to a string");
}

/// What naga finds in an assembled source.
#[derive(Debug)]
pub struct Reflection {
    /// Entry points by name.
    pub entries: BTreeMap<String, Entry>,
}

/// One entry point.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Storage names it uses.
    pub storages: Vec<String>,
    /// Names, types and offsets of the fields of the uniform block `p`, when it uses one.
    pub uniform: Option<Vec<(String, String, u32)>>,
    /// Names of the `override` constants of the module.
    pub overrides: Vec<String>,
}

/// Parses and validates a source for naga; a mistake in it is a programmer's and panics with the source's name.
pub fn reflect(name: &str, text: &str) -> Reflection {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE).subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    let overrides: Vec<String> = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
    let mut entries = BTreeMap::new();
    for (index, point) in module.entry_points.iter().enumerate() {
        let uses = info.get_entry_point(index);
        let mut entry = Entry { overrides: overrides.clone(), ..Entry::default() };
        for (handle, var) in module.global_variables.iter() {
            let var_name = var.name.as_deref().unwrap_or_default();
            match var.space {
                _ if uses[handle].is_empty() => {}
                naga::AddressSpace::Storage { .. } => entry.storages.push(var_name.trim_end_matches("_buf").to_string()),
                naga::AddressSpace::Uniform if var_name == "p" => entry.uniform = Some(fields(&module, var.ty)),
                _ => {}
            }
        }
        assert!(entry.storages.len() <= 8, "{name}: {} uses {} storage buffers, the portable limit is 8", point.name, entry.storages.len());
        entries.insert(point.name.clone(), entry);
    }
    Reflection { entries }
}

fn fields(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Vec<(String, String, u32)> {
    let naga::TypeInner::Struct { members, .. } = &module.types[ty].inner else { panic!("the uniform `p` is not a struct") };
    let kind = |ty: naga::Handle<naga::Type>| match module.types[ty].inner {
        naga::TypeInner::Scalar(naga::Scalar::U32) => "u32".to_string(),
        naga::TypeInner::Scalar(naga::Scalar::I32) => "i32".to_string(),
        naga::TypeInner::Scalar(naga::Scalar::F32) => "f32".to_string(),
        naga::TypeInner::Array { base, size: naga::ArraySize::Constant(n), .. } => match module.types[base].inner {
            naga::TypeInner::Vector { size: naga::VectorSize::Quad, scalar: naga::Scalar::U32 } => format!("array<vec4<u32>, {n}>"),
            ref other => format!("{other:?}"),
        },
        ref other => format!("{other:?}"),
    };
    members.iter().map(|m| (m.name.clone().unwrap_or_default(), kind(m.ty), m.offset)).collect()
}

impl Entry {
    /// Panics unless the host's uniform block has exactly the shader's fields.
    pub fn check_uniform(&self, name: &str, data: &UniformData) {
        let host: Vec<_> = data.fields.iter().map(|(n, t, o)| (n.to_string(), t.to_string(), *o)).collect();
        let shader = self.uniform.clone().unwrap_or_default();
        assert!(self.uniform.is_none() || host == shader, "{name}: uniform fields differ\n  host   {host:?}\n  shader {shader:?}");
    }
}
