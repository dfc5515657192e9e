// y = (1 - b) x + b alt, with one b for each row
#storage b
#storage x
#storage alt
#storage y
struct Params { rows: u32, groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    let i = at.y * p.groups + g;
    let b = b_ld(at.y);
    y_st4(i, (1.0 - b) * x_ld4(i) + b * alt_ld4(i));
}
