// For the peptide bond from residue i to i + 1: the length |C N|, the cosines at C (CA, C, N) and at N (C, N, CA), each with
// error = sqrt(1e-6 + (value - mean)^2) and loss = relu(error - factor stddev)
#import reduce
#storage pos
#storage mask
#storage index i32
#storage aatype i32
#storage means
#storage per_residue
#storage violation
#storage stats
#storage dmeans
#storage dper_residue
#storage dpos
struct Params {
    rows: u32, proline: i32, has_dmeans: u32, has_dper: u32, factor: f32, ca_ca_most: f32,
    length: f32, length_std: f32, pro_length: f32, pro_length_std: f32, cos_c: f32, cos_c_std: f32, cos_n: f32, cos_n_std: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
const ATOMS = 14u;
const PITCH = 16u;

// The atoms of a bond, its three values with their means and widths, and which of them are known.
struct Bond {
    c_ca: vec3<f32>, c_n: vec3<f32>, n_ca: vec3<f32>,
    lengths: vec3<f32>, off: vec3<f32>, error: vec3<f32>, most: vec3<f32>, known: vec3<f32>,
}
fn norm(d: vec3<f32>) -> f32 { return sqrt(1e-6 + dot(d, d)); }
fn at(i: u32, atom: u32) -> vec3<f32> { return pos_ld4(i * ATOMS + atom).xyz; }

fn bond(i: u32) -> Bond {
    var b: Bond;
    let c = at(i, 2u);
    let n = at(i + 1u, 0u);
    b.c_ca = at(i, 1u) - c;
    b.c_n = n - c;
    b.n_ca = at(i + 1u, 1u) - n;
    b.lengths = vec3<f32>(norm(b.c_ca), norm(b.c_n), norm(b.n_ca));
    let pro = aatype_ld(i + 1u) == p.proline;
    let cos_c = dot(b.c_ca, b.c_n) / (b.lengths.x * b.lengths.y);
    let cos_n = -dot(b.c_n, b.n_ca) / (b.lengths.y * b.lengths.z);
    b.off = vec3<f32>(b.lengths.y - select(p.length, p.pro_length, pro), cos_c - p.cos_c, cos_n - p.cos_n);
    b.error = sqrt(vec3<f32>(1e-6) + b.off * b.off);
    b.most = p.factor * vec3<f32>(select(p.length_std, p.pro_length_std, pro), p.cos_c_std, p.cos_n_std);
    let near = mask_ld4(i * 4u);
    let far = mask_ld4((i + 1u) * 4u);
    let joined = select(0.0, 1.0, index_ld(i + 1u) - index_ld(i) == 1);
    b.known = joined * near.z * far.x * vec3<f32>(1.0, near.y, far.y);
    return b;
}
fn loss_of(b: Bond) -> vec3<f32> { return max(b.error - b.most, vec3<f32>(0.0)); }
fn broken(b: Bond) -> f32 { return select(0.0, 1.0, any((b.known > vec3<f32>(0.0)) & (b.error > b.most))); }

// One workgroup: a lane owns groups of four residues and the bonds that begin at them.
@compute @workgroup_size(64)
fn forward(@builtin(local_invocation_index) lane: u32) {
    var sums = vec4<f32>(0.0);
    var counts = vec4<f32>(0.0);
    for (var g = lane; g * 4u < p.rows; g += 64u) {
        var loss = vec4<f32>(0.0);
        var bad = vec4<f32>(0.0);
        for (var k = 0u; k < 4u; k++) {
            let i = g * 4u + k;
            if i >= p.rows { break; }
            if i > 0u {
                let b = bond(i - 1u);
                loss[k] += 0.5 * dot(loss_of(b), vec3<f32>(1.0));
                bad[k] = broken(b);
            }
            if i + 1u < p.rows {
                let b = bond(i);
                let l = loss_of(b);
                loss[k] += 0.5 * dot(l, vec3<f32>(1.0));
                bad[k] = max(bad[k], broken(b));
                let joined = select(0.0, 1.0, index_ld(i + 1u) - index_ld(i) == 1);
                let both = joined * mask_ld4(i * 4u).y * mask_ld4((i + 1u) * 4u).y;
                let apart = select(0.0, 1.0, norm(at(i, 1u) - at(i + 1u, 1u)) > p.ca_ca_most);
                sums += vec4<f32>(b.known * l, both * apart);
                counts += vec4<f32>(b.known, both);
            }
        }
        per_residue_st4(g, loss);
        violation_st4(g, bad);
    }
    sums = sum_of_group(lane, sums);
    counts = sum_of_group(lane, counts);
    if lane == 0u {
        let inverse = 1.0 / (counts.xyz + 1e-6);
        for (var k = 0u; k < 3u; k++) { means_st4(k, vec4<f32>(sums[k] * inverse[k], 0.0, 0.0, 0.0)); }
        stats_st4(0u, vec4<f32>(sums.w / (counts.w + 1e-10), 0.0, 0.0, 0.0));
        for (var k = 0u; k < 3u; k++) { stats_st4(1u + k, vec4<f32>(inverse[k], 0.0, 0.0, 0.0)); }
    }
}

// The gradients of the bond's three values: w (value - mean) / error where the loss is not zero.
fn slopes(b: Bond, i: u32) -> vec3<f32> {
    var w = vec3<f32>(0.0);
    if p.has_dmeans == 1u { w = vec3<f32>(dmeans_ld4(0u).x, dmeans_ld4(1u).x, dmeans_ld4(2u).x) * b.known * vec3<f32>(stats_ld4(1u).x, stats_ld4(2u).x, stats_ld4(3u).x); }
    if p.has_dper == 1u { w += 0.5 * (dper_residue_ld(i) + dper_residue_ld(i + 1u)); }
    return select(vec3<f32>(0.0), w * b.off / b.error, b.error > b.most);
}
// d|v| = v / |v|;  dcos(u, v) / du = (v / |v| - cos u / |u|) / |u|. Gradients of C - CA, N - C and CA - N, as columns.
fn bond_back(i: u32) -> mat3x3<f32> {
    let b = bond(i);
    let s = slopes(b, i);
    let x = b.c_ca / b.lengths.x;
    let y = b.c_n / b.lengths.y;
    let z = b.n_ca / b.lengths.z;
    let dx = s.y * (y - dot(x, y) * x) / b.lengths.x;
    let dy = s.x * y + (s.y * (x - dot(x, y) * y) - s.z * (z - dot(y, z) * y)) / b.lengths.y;
    let dz = -s.z * (y - dot(y, z) * z) / b.lengths.z;
    return mat3x3<f32>(dx, dy, dz);
}

// One invocation per residue: N and CA of the bond before, CA and C of the bond after.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    var n = vec3<f32>(0.0);
    var ca = vec3<f32>(0.0);
    var c = vec3<f32>(0.0);
    if i > 0u {
        let d = bond_back(i - 1u);
        n = d[1] - d[2];
        ca = d[2];
    }
    if i + 1u < p.rows {
        let d = bond_back(i);
        ca += d[0];
        c = -d[0] - d[1];
    }
    dpos_st4(i * ATOMS, vec4<f32>(n, 0.0));
    dpos_st4(i * ATOMS + 1u, vec4<f32>(ca, 0.0));
    dpos_st4(i * ATOMS + 2u, vec4<f32>(c, 0.0));
    for (var a = 3u; a < ATOMS; a++) { dpos_st4(i * ATOMS + a, vec4<f32>(0.0)); }
}
