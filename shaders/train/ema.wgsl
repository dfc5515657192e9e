// mean += (1 - decay) (param - mean), unless the step was skipped (status[1].y is 0).
#storage control
#storage status
#storage param
#storage mean
struct Params { groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn ema(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.groups || status_ld(5u) == 0.0 { return; }
    let mean = mean_ld4(g);
    mean_st4(g, mean + control_ld(8u) * (param_ld4(g) - mean));
}
