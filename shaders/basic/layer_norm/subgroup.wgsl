// Layer normalisation for CPUs: a subgroup of eight lanes a row, and no barriers. `basic/layer_norm` sums gradients of parameters
// alone, or of more than 256 channels.
enable subgroups;
#import bits
#storage x
#storage scale
#storage offset
#storage y
#storage stats
#storage dy
#storage dx
#storage part
#import layer_norm

fn sum8(lane: u32, v: f32) -> f32 { return subgroupAdd(v); }

// A workgroup takes 16 rows one after the other: to start one costs as much as some rows do.
@compute @workgroup_size(8)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = grid(wg).x * 16u;
    for (var row = first; row < min(first + 16u, p.rows); row++) { normalise(row, lane, lane); }
}

@compute @workgroup_size(8)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = grid(wg).x * 16u;
    for (var row = first; row < min(first + 16u, p.rows); row++) { gradient(row, lane, lane); }
}

// Both at once, for up to 256 channels and blocks of 64 rows: dx, and part[k] = (sum dy*xhat, sum dy).
@compute @workgroup_size(8)
fn backward_all(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let block = grid(wg).x;
    for (var t = 0u; t < 64u && block * 64u + t < p.rows; t++) { gradient(block * 64u + t, lane, lane); }
#repeat i 8
    if lane + $iu * 8u < p.groups {
        part_st4((block * 2u) * p.groups + lane + $iu * 8u, ds$i * lanes(lane + $iu * 8u, p.width));
        part_st4((block * 2u + 1u) * p.groups + lane + $iu * 8u, db$i * lanes(lane + $iu * 8u, p.width));
    }
#end
}
