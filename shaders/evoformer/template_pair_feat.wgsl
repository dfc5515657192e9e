// Features of a pair (i, j) in a template, whose residues follow those of the templates before it: an invocation owns four of the 88, all of
// which are multiplied by the backbone masks of both.
#storage aatype i32
#storage beta
#storage beta_mask
#storage atoms
#storage masks
#storage y
struct Params { n: u32, templates: u32, unit_vector: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// Rows of what residues have one of take whole groups.
fn place(i: u32) -> u32 { return i / p.n * ((p.n + 3u) & ~3u) + i % p.n; }
// N, CA and C are the first three of AlphaFold's 37 atoms; rows of 37 masks take 40 places.
fn backbone(i: u32) -> f32 { return masks_ld(i * 40u) * masks_ld(i * 40u + 1u) * masks_ld(i * 40u + 2u); }
fn unit(v: vec3<f32>) -> vec3<f32> { return v * inverseSqrt(dot(v, v) + 1e-20); }

// The direction to CA of j in the frame of i: C lies on x, N in the plane of x and y (supplement 1.8.1 with C and N exchanged).
fn direction(i: u32, j: u32) -> vec3<f32> {
    let ca = atoms_ld4(i * 37u + 1u).xyz;
    let e1 = unit(atoms_ld4(i * 37u + 2u).xyz - ca);
    let towards = atoms_ld4(i * 37u).xyz - ca;
    let e2 = unit(towards - e1 * dot(e1, towards));
    let way = atoms_ld4(j * 37u + 1u).xyz - ca;
    let at = vec3<f32>(dot(e1, way), dot(e2, way), dot(cross(e1, e2), way));
    return at * inverseSqrt(dot(at, at) + 1e-6);
}

fn edge(k: u32) -> f32 {
    let e = 3.25 + 1.25 * f32(k);
    return e * e;
}

fn feature(c: u32, i: u32, j: u32, square: f32, mask: f32) -> f32 {
    if c < 39u {
        let upper = select(edge(c + 1u), 1e8, c == 38u);
        return f32(edge(c) < square && square < upper);
    }
    if c == 39u { return beta_mask_ld(place(i)) * beta_mask_ld(place(j)); }
    if c < 62u { return f32(u32(aatype_ld(place(j))) == c - 40u); }
    if c < 84u { return f32(u32(aatype_ld(place(i))) == c - 62u); }
    if c == 87u { return mask; }
    if p.unit_vector == 0u { return 0.0; }
    return direction(i, j)[c - 84u] * mask;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let column = flat / 22u;
    let c = flat % 22u * 4u;
    if column >= p.n { return; }
    let i = at.z * p.n + at.y;
    let j = at.z * p.n + column;
    let mask = backbone(i) * backbone(j);
    let way = beta_ld4(i).xyz - beta_ld4(j).xyz;
    let square = dot(way, way);
    var v = vec4<f32>(0.0);
    if mask != 0.0 {
        v = mask * vec4<f32>(feature(c, i, j, square, mask), feature(c + 1u, i, j, square, mask),
            feature(c + 2u, i, j, square, mask), feature(c + 3u, i, j, square, mask));
    }
    y_st4((at.y * p.templates * p.n + j) * 22u + flat % 22u, v);
}
