// For atoms a, b of residues with different numbers: error = relu(r_a + r_b - overlap - |dx|), |dx| = sqrt(1e-10 + dx^2). The bond C-N of neighbours
// is no clash, nor are two atoms in the slot of the cysteine's sulphur.
#import reduce
#storage pos
#storage exists
#storage radius
#storage aatype i32
#storage index i32
#storage y
#storage clash
#storage part
#storage mean
#storage stats
#storage dy
#storage dmean
#storage coef
#storage dpos
struct Params { rows: u32, has_dy: u32, overlap: f32 }
@group(0) @binding(0) var<uniform> p: Params;
const ATOMS = 14u;
const SULPHUR = 5u;

// Four atoms of a residue, coordinate by coordinate; slots beyond the fourteenth repeat it and do not exist.
struct Four { x: vec4<f32>, y: vec4<f32>, z: vec4<f32>, radius: vec4<f32>, exists: vec4<f32> }
fn four(i: u32, g: u32) -> Four {
    let o = i * ATOMS;
    let a = transpose(mat4x4<f32>(pos_ld4(o + g * 4u), pos_ld4(o + g * 4u + 1u),
        pos_ld4(o + min(g * 4u + 2u, ATOMS - 1u)), pos_ld4(o + min(g * 4u + 3u, ATOMS - 1u))));
    return Four(a[0], a[1], a[2], radius_ld4(u32(aatype_ld(i)) * 4u + g), exists_ld4(i * 4u + g));
}
// Which of the four atoms count against atom b of residue j.
fn paired(f: Four, g: u32, i: u32, j: u32, b: u32) -> vec4<f32> {
    var m = f.exists * exists_ld(j * 16u + b);
    let step = index_ld(j) - index_ld(i);
    if g == 0u && step == 1 && b == 0u { m.z = 0.0; }
    if g == 0u && step == -1 && b == 2u { m.x = 0.0; }
    if g == 1u && b == SULPHUR { m.y = 0.0; }
    return m;
}

// One invocation for four atoms of a residue.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let item = grid(wg).x * 64u + lane;
    let i = item / 4u;
    if i >= p.rows { return; }
    let g = item % 4u;
    let f = four(i, g);
    var sum = vec4<f32>(0.0);
    var hit = vec4<f32>(0.0);
    var count = vec4<f32>(0.0);
    for (var j = 0u; j < p.rows; j++) {
        if index_ld(j) == index_ld(i) { continue; }
        for (var b = 0u; b < ATOMS; b++) {
            let m = paired(f, g, i, j, b);
            let v = pos_ld4(j * ATOMS + b);
            let d = sqrt(vec4<f32>(1e-10) + (f.x - v.x) * (f.x - v.x) + (f.y - v.y) * (f.y - v.y) + (f.z - v.z) * (f.z - v.z));
            let over = f.radius + radius_ld(u32(aatype_ld(j)) * 16u + b) - p.overlap - d;
            sum += m * max(over, vec4<f32>(0.0));
            hit = max(hit, select(vec4<f32>(0.0), m, over > vec4<f32>(0.0)));
            count += m;
        }
    }
    y_st4(item, sum);
    clash_st4(item, hit);
    part_st4(item, vec4<f32>(dot(sum, vec4<f32>(1.0)), dot(count, vec4<f32>(1.0)), 0.0, 0.0));
}

// One workgroup: the mean over pairs, each of which both of its atoms have counted.
@compute @workgroup_size(64)
fn finish(@builtin(local_invocation_index) lane: u32) {
    var v = vec4<f32>(0.0);
    for (var i = lane; i < p.rows * 4u; i += 64u) { v += part_ld4(i); }
    v = 0.5 * sum_of_group(lane, v);
    if lane == 0u {
        let inverse = 1.0 / (1e-6 + v.y);
        mean_st4(0u, vec4<f32>(v.x * inverse, 0.0, 0.0, 0.0));
        stats_st4(0u, vec4<f32>(inverse, 0.0, 0.0, 0.0));
    }
}

// What the mean's gradient adds to every pair's.
@compute @workgroup_size(1)
fn backward_scale() {
    coef_st4(0u, vec4<f32>(dmean_ld(0u) * stats_ld(0u), 0.0, 0.0, 0.0));
}

// dx_a = -sum_b (dy_a + dy_b + dmean / pairs) (x_a - x_b) / |dx| where the two overlap too much
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let item = grid(wg).x * 64u + lane;
    let i = item / 4u;
    if i >= p.rows { return; }
    let g = item % 4u;
    let f = four(i, g);
    var own = vec4<f32>(coef_ld(0u));
    if p.has_dy == 1u { own += dy_ld4(item); }
    var dx = vec4<f32>(0.0);
    var dy = vec4<f32>(0.0);
    var dz = vec4<f32>(0.0);
    for (var j = 0u; j < p.rows; j++) {
        if index_ld(j) == index_ld(i) { continue; }
        for (var b = 0u; b < ATOMS; b++) {
            let v = pos_ld4(j * ATOMS + b);
            let ex = f.x - v.x;
            let ey = f.y - v.y;
            let ez = f.z - v.z;
            let d = sqrt(vec4<f32>(1e-10) + ex * ex + ey * ey + ez * ez);
            let over = f.radius + radius_ld(u32(aatype_ld(j)) * 16u + b) - p.overlap - d;
            var w = own;
            if p.has_dy == 1u { w += dy_ld(j * 16u + b); }
            w = select(vec4<f32>(0.0), w * paired(f, g, i, j, b) / d, over > vec4<f32>(0.0));
            dx -= w * ex;
            dy -= w * ey;
            dz -= w * ez;
        }
    }
    for (var k = 0u; k < min(4u, ATOMS - g * 4u); k++) {
        dpos_st4(i * ATOMS + g * 4u + k, vec4<f32>(dx[k], dy[k], dz[k], 0.0));
    }
}
