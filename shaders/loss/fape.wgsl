// e = sqrt(|a - b|^2 + eps) with a = R^T (x - t) of the prediction and b of the truth, for every layer l, frame f and point p;
// y = 1/L sum_l 1/(s (eps + F P)) sum_fp mf mp (u min(e, clamp) + (1 - u) e), where F and P are the masks' sums
#import rigid
#import reduce
#storage frames
#storage points
#storage true_frames
#storage frame_mask
#storage true_points
#storage point_mask
#storage mix
#storage part
#storage y
#storage last
#storage stats
#storage dy
#storage dlast
#storage coef
#storage dframes
#storage dpoints
struct Params {
    layers: u32, frames: u32, points: u32, frame_k: u32, frame_pitch: u32, point_k: u32, point_pitch: u32, has_dy: u32, has_dlast: u32,
    clamp: f32, scale: f32, eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
// Terms that are added before they join a longer sum.
const BLOCK = 64u;

fn frame(i: u32) -> Rigid { return unpack12(frames_ld4(i * 3u), frames_ld4(i * 3u + 1u), frames_ld4(i * 3u + 2u)); }
fn true_frame(i: u32) -> Rigid { return unpack12(true_frames_ld4(i * 3u), true_frames_ld4(i * 3u + 1u), true_frames_ld4(i * 3u + 2u)); }
fn frame_mask_at(i: u32) -> f32 { return frame_mask_ld((i / p.frame_k) * p.frame_pitch + i % p.frame_k); }
fn point_mask_at(i: u32) -> f32 { return point_mask_ld((i / p.point_k) * p.point_pitch + i % p.point_k); }

// A walk along a mask whose rows of k elements are padded.
struct Walk { at: u32, column: u32 }
fn next(w: Walk, k: u32, pitch: u32) -> Walk {
    if w.column + 1u < k { return Walk(w.at + 1u, w.column + 1u); }
    return Walk(w.at + 1u + pitch - k, 0u);
}

// One invocation per frame: the sum of its points' errors.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let i = at.x * 64u + lane;
    if i >= p.frames { return; }
    let f = frame(at.y * p.frames + i);
    let g = true_frame(i);
    let u = mix_ld(0u);
    var sum = 0.0;
    var w = Walk(0u, 0u);
    for (var first = 0u; first < p.points; first += BLOCK) {
        var block = 0.0;
        for (var j = first; j < min(first + BLOCK, p.points); j++) {
            let d = apply_inverse(f, points_ld4(at.y * p.points + j).xyz) - apply_inverse(g, true_points_ld4(j).xyz);
            let e = sqrt(dot(d, d) + p.eps);
            block += point_mask_ld(w.at) * (u * min(e, p.clamp) + (1.0 - u) * e);
            w = next(w, p.point_k, p.point_pitch);
        }
        sum += block;
    }
    part_st4(at.y * p.frames + i, vec4<f32>(sum * frame_mask_at(i), 0.0, 0.0, 0.0));
}

// One workgroup: the layers' sums, their mean, and 1 / (s (eps + F P)).
@compute @workgroup_size(64)
fn finish(@builtin(local_invocation_index) lane: u32) {
    var counts = vec4<f32>(0.0);
    for (var i = lane; i < (p.frames / p.frame_k) * p.frame_pitch; i += 64u) { counts.x += frame_mask_ld(i); }
    for (var i = lane; i < (p.points / p.point_k) * p.point_pitch; i += 64u) { counts.y += point_mask_ld(i); }
    counts = sum_of_group(lane, counts);
    let c = 1.0 / (p.scale * (p.eps + counts.x * counts.y));
    var mean = 0.0;
    var layer = 0.0;
    for (var l = 0u; l < p.layers; l++) {
        var sum = 0.0;
        for (var i = lane; i < p.frames; i += 64u) { sum += part_ld4(l * p.frames + i).x; }
        layer = c * sum_of_group(lane, vec4<f32>(sum)).x;
        mean += layer;
    }
    if lane == 0u {
        y_st4(0u, vec4<f32>(mean / f32(p.layers), 0.0, 0.0, 0.0));
        last_st4(0u, vec4<f32>(layer, 0.0, 0.0, 0.0));
        stats_st4(0u, vec4<f32>(c, mix_ld(0u), 0.0, 0.0));
    }
}

// What the gradient of e is multiplied with in each layer, where e is below the clamp and where it is not: c (dy/L + dlast), all of it and
// the part 1 - u.
@compute @workgroup_size(64)
fn backward_scale(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let l = grid(wg).x * 64u + lane;
    if l >= p.layers { return; }
    var d = 0.0;
    if p.has_dy == 1u { d += dy_ld(0u) / f32(p.layers); }
    if p.has_dlast == 1u && l + 1u == p.layers { d += dlast_ld(0u); }
    let s = stats_ld4(0u);
    coef_st4(l, vec4<f32>(s.x * d, s.x * d * (1.0 - s.y), 0.0, 0.0));
}

// g = c mf mp (a - b) / e
fn slope(d: vec3<f32>, c: vec4<f32>) -> vec3<f32> {
    let e = sqrt(dot(d, d) + p.eps);
    return d * (select(c.y, c.x, e < p.clamp) / e);
}

// dR = sum_p (x - t) g^T,  dt = -R sum_p g
@compute @workgroup_size(64)
fn backward_frames(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let i = at.x * 64u + lane;
    if i >= p.frames { return; }
    let f = frame(at.y * p.frames + i);
    let g = true_frame(i);
    let c = coef_ld4(at.y);
    var sum = Rigid(mat3x3<f32>(), vec3<f32>(0.0));
    var w = Walk(0u, 0u);
    for (var first = 0u; first < p.points; first += BLOCK) {
        var block = Rigid(mat3x3<f32>(), vec3<f32>(0.0));
        for (var j = first; j < min(first + BLOCK, p.points); j++) {
            let v = points_ld4(at.y * p.points + j).xyz - f.t;
            let s = point_mask_ld(w.at) * slope(v * f.r - apply_inverse(g, true_points_ld4(j).xyz), c);
            block = Rigid(block.r + outer(v, s), block.t + s);
            w = next(w, p.point_k, p.point_pitch);
        }
        sum = Rigid(sum.r + block.r, sum.t + block.t);
    }
    let m = frame_mask_at(i);
    let d = Rigid(sum.r * m, f.r * sum.t * -m);
    let o = (at.y * p.frames + i) * 3u;
    dframes_st4(o, pack12a(d));
    dframes_st4(o + 1u, pack12b(d));
    dframes_st4(o + 2u, pack12c(d));
}

// dx = sum_f R g
@compute @workgroup_size(64)
fn backward_points(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let j = at.x * 64u + lane;
    if j >= p.points { return; }
    let x = points_ld4(at.y * p.points + j).xyz;
    let true_x = true_points_ld4(j).xyz;
    let c = coef_ld4(at.y);
    var sum = vec3<f32>(0.0);
    var w = Walk(0u, 0u);
    for (var first = 0u; first < p.frames; first += BLOCK) {
        var block = vec3<f32>(0.0);
        for (var i = first; i < min(first + BLOCK, p.frames); i++) {
            let f = frame(at.y * p.frames + i);
            let s = slope(apply_inverse(f, x) - apply_inverse(true_frame(i), true_x), c);
            block += frame_mask_ld(w.at) * (f.r * s);
            w = next(w, p.frame_k, p.frame_pitch);
        }
        sum += block;
    }
    dpoints_st4(at.y * p.points + j, vec4<f32>(sum * point_mask_at(j), 0.0));
}
