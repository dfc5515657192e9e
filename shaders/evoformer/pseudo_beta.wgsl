// y_i = CB of residue i, CA of a glycine. Atoms 1 and 3 of AlphaFold's 37.
#storage aatype i32
#storage x
#storage y
#storage dy
#storage dx
struct Params { rows: u32, glycine: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn slot(i: u32) -> u32 { return select(3u, 1u, u32(aatype_ld(i)) == p.glycine); }

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    y_st4(i, x_ld4(i * 37u + slot(i)));
}

// dx is dy at the chosen atom and zero at all others.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let chosen = slot(i);
    let d = dy_ld4(i);
    for (var atom = 0u; atom < 37u; atom++) {
        dx_st4(i * 37u + atom, select(vec4<f32>(0.0), d, atom == chosen));
    }
}
