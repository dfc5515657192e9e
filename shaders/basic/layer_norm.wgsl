// Layer normalisation over the innermost axis (QUIRKS: epsilon inside the root, biased variance in two passes).
#import bits
#storage x
#storage scale
#storage offset
#storage y
#storage stats
#storage dy
#storage dx
#storage part
#storage dscale
#storage doffset
struct Params { rows: u32, width: u32, groups: u32, eps: f32, block: u32, add: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// One invocation a row: mean and 1/std are kept for the backward pass as stats[row] = (mean, 1/std, 0, 0).
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.rows { return; }
    let base = row * p.groups;
    let n = f32(p.width);
    var sum = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) { sum = sum + x_ld4(base + g); }
    let mean = total(sum) / n;
    var square = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) {
        let d = (x_ld4(base + g) - mean) * lanes(g, p.width);
        square = square + d * d;
    }
    let rstd = 1.0 / sqrt(total(square) / n + p.eps);
    stats_st4(row, vec4<f32>(mean, rstd, 0.0, 0.0));
    for (var g = 0u; g < p.groups; g++) {
        let xhat = (x_ld4(base + g) - mean) * rstd;
        y_st4(base + g, (xhat * scale_ld4(g) + offset_ld4(g)) * lanes(g, p.width));
    }
}

// dx = rstd * (dy*scale - mean(dy*scale) - xhat * mean(dy*scale*xhat)),  xhat = (x - mean) * rstd
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.rows { return; }
    let base = row * p.groups;
    let s = stats_ld4(row);
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) {
        let d = dy_ld4(base + g) * scale_ld4(g) * lanes(g, p.width);
        a = a + d;
        b = b + d * (x_ld4(base + g) - s.x) * s.y;
    }
    let n = f32(p.width);
    let mean_d = total(a) / n;
    let mean_dx = total(b) / n;
    for (var g = 0u; g < p.groups; g++) {
        let xhat = (x_ld4(base + g) - s.x) * s.y;
        let d = dy_ld4(base + g) * scale_ld4(g);
        dx_st4(base + g, s.y * (d - mean_d - xhat * mean_dx) * lanes(g, p.width));
    }
}

// part[k] = (sum dy*xhat, sum dy) over the rows of block k: rows of a fixed logical size, so that the order of addition never changes.
@compute @workgroup_size(64)
fn backward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.y * 64u + lane;
    if g >= p.groups { return; }
    var ds = vec4<f32>(0.0);
    var db = vec4<f32>(0.0);
    let first = at.x * p.block;
    for (var row = first; row < min(first + p.block, p.rows); row++) {
        let s = stats_ld4(row);
        let d = dy_ld4(row * p.groups + g);
        ds = ds + d * (x_ld4(row * p.groups + g) - s.x) * s.y;
        db = db + d;
    }
    part_st4((at.x * 2u) * p.groups + g, ds);
    part_st4((at.x * 2u + 1u) * p.groups + g, db);
}

// dscale = sum_k part[k][0], doffset = sum_k part[k][1], in order.
@compute @workgroup_size(64)
fn backward_sum(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.groups { return; }
    var ds = vec4<f32>(0.0);
    var db = vec4<f32>(0.0);
    for (var k = 0u; k < p.rows; k++) {
        ds = ds + part_ld4((k * 2u) * p.groups + g);
        db = db + part_ld4((k * 2u + 1u) * p.groups + g);
    }
    dscale_st4(g, ds * lanes(g, p.width));
    doffset_st4(g, db * lanes(g, p.width));
}
