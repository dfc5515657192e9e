// The class of the error of every residue's origin, seen from every residue's frame: the number of edges k step below
// |T_i^-1 t_j - T'_i^-1 t'_j|. There is no gradient (QUIRKS 46).
#import rigid
#storage predicted
#storage truth
#storage bins i32
struct Params { n: u32, groups: u32, step: f32, edges: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    let i = at.y * 3u;
    let a = unpack12(predicted_ld4(i), predicted_ld4(i + 1u), predicted_ld4(i + 2u));
    let b = unpack12(truth_ld4(i), truth_ld4(i + 1u), truth_ld4(i + 2u));
    var found = vec4<i32>(0);
    for (var l = 0u; l < min(4u, p.n - g * 4u); l++) {
        let j = (g * 4u + l) * 3u + 2u;
        let d = apply_inverse(a, predicted_ld4(j).yzw) - apply_inverse(b, truth_ld4(j).yzw);
        let d2 = d.x * d.x + d.y * d.y + d.z * d.z;
        for (var k = 0u; k < p.edges; k++) {
            let e = f32(k) * p.step;
            if d2 > e * e { found[l] += 1; }
        }
    }
    bins_st4(at.y * p.groups + g, found);
}
