// Features of a residue in an extra row: 23 of a one-hot, whether there is a deletion, and its value. An invocation owns four of 25.
#storage kind i32
#storage has_deletion
#storage deletion_value
#storage y
struct Params { n_res: u32, pitch: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let i = flat / 7u;
    let c = flat % 7u * 4u;
    if i >= p.n_res { return; }
    let place = at.y * p.pitch + i;
    let k = u32(kind_ld(place));
    var v = select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(c, c + 1u, c + 2u, c + 3u) == vec4<u32>(k));
    // Channels 23 and 24 lie in the last two groups; a kind is below 23.
    if c == 20u { v.w = has_deletion_ld(place); }
    if c == 24u { v.x = deletion_value_ld(place); }
    y_st4((at.y * p.n_res + i) * 7u + c / 4u, v);
}
