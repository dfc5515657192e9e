// error = sum_k t_k (log sum_i exp(l_i) - l_k), with t a one-hot of a label or given whole. An invocation owns four neighbouring rows,
// whose errors are one group.
#import bits
#storage logits
#storage labels i32
#storage soft
#storage error
#storage derror
#storage dlogits
struct Params { columns: u32, error_groups: u32, groups: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// The largest logit of a row, and the sum of exponentials relative to it.
fn normaliser(base: u32) -> vec2<f32> {
    var top = vec4<f32>(-3.4e38);
    for (var g = 0u; g < p.groups; g++) {
        top = max(top, select(vec4<f32>(-3.4e38), logits_ld4(base + g), lanes(g, p.width) > vec4<f32>(0.0)));
    }
    let most = max(max(top.x, top.y), max(top.z, top.w));
    var sum = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) { sum += exp(min(logits_ld4(base + g) - most, vec4<f32>(0.0))) * lanes(g, p.width); }
    return vec2<f32>(most, total(sum));
}
fn known(label: i32) -> bool { return label >= 0 && label < i32(p.width); }

@compute @workgroup_size(32)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 32u + lane;
    if q >= p.error_groups { return; }
    var e = vec4<f32>(0.0);
    for (var l = 0u; l < min(4u, p.columns - q * 4u); l++) {
        let base = (at.y * p.columns + q * 4u + l) * p.groups;
        let label = labels_ld(at.y * p.error_groups * 4u + q * 4u + l);
        if known(label) {
            let n = normaliser(base);
            e[l] = log(n.y) + n.x - logits_ld(base * 4u + u32(label));
        }
    }
    error_st4(at.y * p.error_groups + q, e);
}
@compute @workgroup_size(32)
fn forward_soft(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 32u + lane;
    if q >= p.error_groups { return; }
    var e = vec4<f32>(0.0);
    for (var l = 0u; l < min(4u, p.columns - q * 4u); l++) {
        let base = (at.y * p.columns + q * 4u + l) * p.groups;
        let n = normaliser(base);
        let log_sum = log(n.y) + n.x;
        var sum = vec4<f32>(0.0);
        for (var g = 0u; g < p.groups; g++) { sum += soft_ld4(base + g) * (log_sum - logits_ld4(base + g)); }
        e[l] = total(sum);
    }
    error_st4(at.y * p.error_groups + q, e);
}

// dlogits_k = derror (softmax_k sum(t) - t_k)
@compute @workgroup_size(32)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 32u + lane;
    if q >= p.error_groups { return; }
    for (var l = 0u; l < min(4u, p.columns - q * 4u); l++) {
        let base = (at.y * p.columns + q * 4u + l) * p.groups;
        let place = at.y * p.error_groups * 4u + q * 4u + l;
        let label = labels_ld(place);
        let d = select(0.0, derror_ld(place), known(label));
        let n = normaliser(base);
        for (var g = 0u; g < p.groups; g++) {
            let first = i32(g * 4u);
            let hit = vec4<i32>(first, first + 1, first + 2, first + 3) == vec4<i32>(label);
            let share = exp(min(logits_ld4(base + g) - n.x, vec4<f32>(0.0))) / n.y;
            dlogits_st4(base + g, d * (share - select(vec4<f32>(0.0), vec4<f32>(1.0), hit)) * lanes(g, p.width));
        }
    }
}
@compute @workgroup_size(32)
fn backward_soft(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 32u + lane;
    if q >= p.error_groups { return; }
    for (var l = 0u; l < min(4u, p.columns - q * 4u); l++) {
        let base = (at.y * p.columns + q * 4u + l) * p.groups;
        let d = derror_ld(at.y * p.error_groups * 4u + q * 4u + l);
        let n = normaliser(base);
        var t = vec4<f32>(0.0);
        for (var g = 0u; g < p.groups; g++) { t += soft_ld4(base + g); }
        let all = total(t);
        for (var g = 0u; g < p.groups; g++) {
            let share = exp(min(logits_ld4(base + g) - n.x, vec4<f32>(0.0))) / n.y;
            dlogits_st4(base + g, d * (share * all - soft_ld4(base + g)) * lanes(g, p.width));
        }
    }
}
