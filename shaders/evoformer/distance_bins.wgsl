// The bin of every distance between two points of a set, and the squared distance. Edges are first + k step; there is no gradient.
#storage x
#storage bins i32
#storage square
struct Params { n: u32, groups: u32, first: f32, step: f32, count: u32, dgram: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn edge2(k: u32) -> f32 {
    let e = p.first + f32(k) * p.step;
    return e * e;
}
// The number of edges below the distance; or, with `dgram`, the bin whose edges lie strictly on both sides of it, -1 where none does.
// The last bin of a dgram ends at a squared distance of 1e8 (QUIRKS 16).
fn bin_of(d2: f32) -> i32 {
    var found = select(0, -1, p.dgram == 1u);
    for (var k = 0u; k < p.count; k++) {
        if p.dgram == 0u {
            if d2 > edge2(k) { found += 1; }
        } else {
            let upper = select(edge2(k + 1u), 1e8, k + 1u == p.count);
            if d2 > edge2(k) && d2 < upper { found = i32(k); }
        }
    }
    return found;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    let a = x_ld4(at.z * p.n + at.y).xyz;
    var found = vec4<i32>(0);
    var d2 = vec4<f32>(0.0);
    for (var l = 0u; l < min(4u, p.n - g * 4u); l++) {
        let d = a - x_ld4(at.z * p.n + g * 4u + l).xyz;
        d2[l] = d.x * d.x + d.y * d.y + d.z * d.z;
        found[l] = bin_of(d2[l]);
    }
    let to = (at.z * p.n + at.y) * p.groups + g;
    bins_st4(to, found);
    square_st4(to, d2);
}
