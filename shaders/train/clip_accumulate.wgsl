// total += scale * x, with the scale that `norm` left in status[1].w; a scale of 0 marks a gradient that is not finite, which is left out.
#storage x
#storage total
#storage status
struct Params { groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn accumulate(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    let scale = status_ld(7u);
    if g >= p.groups || scale == 0.0 { return; }
    total_st4(g, total_ld4(g) + x_ld4(g) * scale);
}
