// The global norm of one example's gradient. One workgroup sums a block of 1024 groups, whatever the device, so that windows change no bit.
#import bits
#storage x
#storage factor
#storage part
#storage loss
#storage control
#storage status
struct Params { groups: u32, square: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<vec4<f32>, 64>;

fn place(block: u32, j: u32, lane: u32) -> u32 { return block * 1024u + j * 64u + lane; }

// part[block] = the sum of the lanes' sums, in order.
fn finish_block(block: u32, lane: u32, sum: vec4<f32>) {
    sums[lane] = sum;
    workgroupBarrier();
    if lane != 0u { return; }
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < 64u; i++) { total = total + sums[i]; }
    part_st4(block, total);
}

// part[block] = sum over the block of x^2, or of x when the blocks of a first pass are summed.
@compute @workgroup_size(64)
fn partial(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = grid(wg).x;
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < 16u; j++) {
        let g = place(block, j, lane);
        if g < p.groups {
            let v = x_ld4(g);
            sum = sum + select(v, v * v, p.square == 1u);
        }
    }
    finish_block(block, lane, sum);
}

// The same over the elements whose learning-rate factor is not zero: frozen parameters take no part in the norm.
@compute @workgroup_size(64)
fn partial_free(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = grid(wg).x;
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < 16u; j++) {
        let g = place(block, j, lane);
        if g < p.groups {
            let v = select(x_ld4(g), vec4<f32>(0.0), factor_ld4(g) == vec4<f32>(0.0));
            sum = sum + v * v;
        }
    }
    finish_block(block, lane, sum);
}

// norm = sqrt(sum of parts), scale = min(1, clip / norm); where norm or loss is not finite the scale is 0 and the step is marked bad.
// control = (lr, eps, clip, 1/batch), ..; status = (applied, c1, c2, skipped), (bad, apply, norm, scale).
@compute @workgroup_size(1)
fn finish(@builtin(workgroup_id) wg: vec3<u32>) {
    var total = vec4<f32>(0.0);
    for (var k = 0u; k < p.blocks; k++) { total = total + part_ld4(k); }
    let norm = sqrt((total.x + total.y) + (total.z + total.w));
    let ok = finite(norm) && finite(loss_ld(0u));
    let clip = control_ld(2u);
    var scale = 1.0;
    if norm > clip { scale = clip / norm; }
    let s = status_ld4(1u);
    status_st4(1u, vec4<f32>(select(1.0, s.x, ok), s.y, norm, select(0.0, scale, ok)));
}
