// Sums over a workgroup of 64 invocations, always added in the same order.
var<workgroup> reduce_lanes: array<vec4<f32>, 64>;
fn sum_of_group(lane: u32, v: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    reduce_lanes[lane] = v;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half { reduce_lanes[lane] += reduce_lanes[lane + half]; }
    }
    workgroupBarrier();
    return reduce_lanes[0];
}
