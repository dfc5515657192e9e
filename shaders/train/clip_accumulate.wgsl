// total += round(scale * x), with the scale that `norm` left in status[1].w; a scale of 0 marks a gradient that is not finite, which is left out.
// The product is rounded before it is added, on adapters that would contract both to one operation, too: then the total of several examples
// has the bits of their single totals' sum, which is what processes exchange. No compiler can know that `zero` is 0.
#storage x
#storage total
#storage status
struct Params { groups: u32, zero: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn accumulate(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    let scale = status_ld(7u);
    if g >= p.groups || scale == 0.0 { return; }
    let clipped = bitcast<vec4<f32>>(bitcast<vec4<u32>>(x_ld4(g) * scale) ^ vec4<u32>(p.zero));
    total_st4(g, total_ld4(g) + clipped);
}
