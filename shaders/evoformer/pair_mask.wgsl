// y[i, j] = x[i] x[j]: an invocation owns four neighbours of a row.
#storage x
#storage y
struct Params { groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    // The padding of x is zero, and so is that of y.
    y_st4(at.y * p.groups + g, x_ld(at.y) * x_ld4(g));
}
