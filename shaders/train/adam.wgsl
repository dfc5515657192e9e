// Adam as optax has it: epsilon outside the root, both moments corrected for their start at zero.
// control = (lr, eps, clip, 1/batch), (b1, 1-b1, b2, 1-b2), ..; status = (applied, c1, c2, skipped), (bad, apply, norm, scale).
#storage control
#storage status
#storage total
#storage param
#storage m
#storage v
#storage factor
struct Params { groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// Decides whether the step is taken. c = 1 - b^t by c_t = (1 - b) + b c_{t-1}: a sum of positive terms, where 1 - b^t itself would lose
// four digits at b2 = 0.999. A step that is not taken counts as skipped and moves nothing.
@compute @workgroup_size(1)
fn begin(@builtin(workgroup_id) wg: vec3<u32>) {
    let b = control_ld4(1u);
    let s = status_ld4(0u);
    let now = status_ld4(1u);
    let ok = now.x == 0.0;
    let c = b.yw + b.xz * s.yz;
    status_st4(0u, select(vec4<f32>(s.xyz, s.w + 1.0), vec4<f32>(s.x + 1.0, c, s.w), ok));
    status_st4(1u, vec4<f32>(0.0, select(0.0, 1.0, ok), now.zw));
}

// g = total / batch;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  param -= lr factor (m / c1) / (sqrt(v / c2) + eps);  total = 0
fn step_at(g: u32, factor: vec4<f32>) {
    let sum = total_ld4(g);
    total_st4(g, vec4<f32>(0.0));
    if status_ld(5u) == 0.0 { return; }
    let k = control_ld4(0u);
    let b = control_ld4(1u);
    let s = status_ld4(0u);
    let grad = sum * k.w;
    let first = b.x * m_ld4(g) + b.y * grad;
    let second = b.z * v_ld4(g) + b.w * grad * grad;
    m_st4(g, first);
    v_st4(g, second);
    let move_by = k.x * factor * (first / s.y) / (sqrt(second / s.z) + k.y);
    // A frozen parameter keeps its bits.
    param_st4(g, select(param_ld4(g) - move_by, param_ld4(g), factor == vec4<f32>(0.0)));
}

@compute @workgroup_size(64)
fn step_all(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g < p.groups { step_at(g, vec4<f32>(1.0)); }
}

@compute @workgroup_size(64)
fn step_by_factor(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g < p.groups { step_at(g, factor_ld4(g)); }
}
