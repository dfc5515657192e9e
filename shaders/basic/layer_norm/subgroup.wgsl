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

// Rows of up to 128 channels, whose number the pipeline knows: a lane a row, so that nothing is summed across lanes.
override GROUPS: u32 = 32u;
fn narrow_row(row: u32) {
    let base = min(row, p.rows - 1u) * p.groups;
    var sum = vec4<f32>(0.0);
#repeat i 32
    var v$i = vec4<f32>(0.0);
    if $iu < GROUPS {
        v$i = x_ld4(base + $iu);
        sum += v$i;
    }
#end
    let mean = total(sum) / f32(p.width);
    var square = vec4<f32>(0.0);
#repeat i 32
    if $iu < GROUPS {
        v$i = (v$i - mean) * lanes($iu, p.width);
        square += v$i * v$i;
    }
#end
    let rstd = 1.0 / sqrt(total(square) / f32(p.width) + p.eps);
    if row >= p.rows { return; }
    stats_st4(row, vec4<f32>(mean, rstd, 0.0, 0.0));
#repeat i 32
    if $iu < GROUPS { scaled(base, $iu, v$i * rstd); }
#end
}

@compute @workgroup_size(8)
fn forward_narrow(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    narrow_row(grid(wg).x * 16u + lane);
    narrow_row(grid(wg).x * 16u + 8u + lane);
}

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
