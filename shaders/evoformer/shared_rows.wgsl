// One over the number of sequences that two residues share.
#storage mask
#storage norm
struct Params { n: u32, groups: u32, n_seq: u32, row: u32, chain: u32, last: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn held(place: u32, j: u32) -> f32 {
    if p.chain == 0u || j >= p.n { return 0.0; }
    return norm_ld4(place + j).x;
}
fn store(place: u32, j: u32, sum: f32) {
    if j < p.n { norm_st4(place + j, vec4<f32>(select(sum, 1.0 / (sum + 1e-3), p.last == 1u), 0.0, 0.0, 0.0)); }
}

// norm[i, j] = 1 / (1e-3 + sum_s mask[s, i] mask[s, j]), one group of four for each pair; rows of the mask are `row` groups apart. With
// `chain` the sum goes on from what is stored, and only the last launch finishes it.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    let place = at.y * p.n;
    let j = g * 4u;
    var sum = vec4<f32>(held(place, j), held(place, j + 1u), held(place, j + 2u), held(place, j + 3u));
    for (var s = 0u; s < p.n_seq; s++) { sum += mask_ld(s * p.row * 4u + at.y) * mask_ld4(s * p.row + g); }
    store(place, j, sum.x);
    store(place, j + 1u, sum.y);
    store(place, j + 2u, sum.z);
    store(place, j + 3u, sum.w);
}
