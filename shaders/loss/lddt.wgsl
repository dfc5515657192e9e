// lDDT of one atom of each residue, its class among `bins` and whether the atom is there. There is no gradient (QUIRKS 45).
#storage predicted
#storage truth
#storage mask
#storage score
#storage label i32
#storage there
struct Params { n: u32, atoms: u32, atom: u32, mask_pitch: u32, groups: u32, cutoff: f32, bins: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn gap(a: vec3<f32>, b: vec3<f32>) -> f32 {
    let d = a - b;
    return sqrt(1e-10 + (d.x * d.x + d.y * d.y + d.z * d.z));
}
fn has(i: u32) -> bool { return mask_ld(i * p.mask_pitch + p.atom) != 0.0; }

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.groups { return; }
    var s = vec4<f32>(0.0);
    var c = vec4<i32>(0);
    var m = vec4<f32>(0.0);
    for (var l = 0u; l < min(4u, p.n - g * 4u); l++) {
        let i = g * 4u + l;
        let a = predicted_ld4(i * p.atoms + p.atom).xyz;
        let b = truth_ld4(i * p.atoms + p.atom).xyz;
        var pairs = 0u;
        // Thresholds that distances stay below, four for each pair.
        var kept = 0u;
        for (var j = 0u; j < p.n; j++) {
            let t = gap(b, truth_ld4(j * p.atoms + p.atom).xyz);
            if j == i || !has(i) || !has(j) || t >= p.cutoff { continue; }
            let off = abs(t - gap(a, predicted_ld4(j * p.atoms + p.atom).xyz));
            pairs += 1u;
            kept += select(0u, 1u, off < 0.5) + select(0u, 1u, off < 1.0) + select(0u, 1u, off < 2.0) + select(0u, 1u, off < 4.0);
        }
        // A residue without any pair scores 1. The class is made of whole numbers, so that no rounding moves it.
        s[l] = 1.0;
        c[l] = i32(p.bins) - 1;
        if pairs > 0u {
            s[l] = 0.25 * f32(kept) / f32(pairs);
            c[l] = min(i32(p.bins * kept / (4u * pairs)), c[l]);
        }
        m[l] = mask_ld(i * p.mask_pitch + p.atom);
    }
    score_st4(g, s);
    label_st4(g, c);
    there_st4(g, m);
}
