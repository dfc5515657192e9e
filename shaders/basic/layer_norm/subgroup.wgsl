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
fn row_ld4(i: u32) -> vec4<f32> { return x_ld4(i); }
#import layer_norm_narrow

fn sum8(lane: u32, v: f32) -> f32 { return subgroupAdd(v); }

// A workgroup takes 16 rows one after the other: to start one costs as much as some rows do.
@compute @workgroup_size(8)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = grid(wg).x * 16u;
    for (var row = first; row < min(first + 16u, p.rows); row++) { normalise(row, lane, lane); }
}

// The same for rows of up to 128 channels.
fn narrow_row(row: u32) {
    let base = min(row, p.rows - 1u) * p.groups;
    let s = narrow_stats(base, p.width, p.eps);
    if row >= p.rows { return; }
    stats_st4(row, vec4<f32>(s, 0.0, 0.0));
#repeat i 4
#repeat e 8
    if $iu * 8u + $eu < GROUPS { scaled(base, $iu * 8u + $eu, v$i_$e * s.y); }
#end
#end
}
@compute @workgroup_size(8)
fn forward_narrow(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    narrow_row(grid(wg).x * 16u + lane);
    narrow_row(grid(wg).x * 16u + 8u + lane);
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

// The same for rows of up to 128 channels, a lane a row: what the lanes have seen is added at the end. Every eighth group is added to one sum,
// as eight lanes of a row do.
#repeat i 4
#repeat e 8
var<private> ns$i_$e: vec4<f32>;
var<private> nb$i_$e: vec4<f32>;
#end
#end
fn narrow_gradient(row: u32) {
    let at = min(row, p.rows - 1u);
    let base = at * p.groups;
    let s = stats_ld4(at);
    var sum_d = 0.0;
    var sum_dx = 0.0;
#repeat e 8
    var a$e = vec4<f32>(0.0);
    var b$e = vec4<f32>(0.0);
#repeat i 4
    var d$i_$e: vec4<f32>;
    var h$i_$e: vec4<f32>;
    if $iu * 8u + $eu < GROUPS {
        let g = select(vec4<f32>(0.0), dy_ld4(base + $iu * 8u + $eu), row < p.rows);
        d$i_$e = g * scale_ld4($iu * 8u + $eu);
        h$i_$e = (x_ld4(base + $iu * 8u + $eu) - s.x) * s.y;
        a$e += d$i_$e;
        b$e += d$i_$e * h$i_$e;
        ns$i_$e += g * h$i_$e;
        nb$i_$e += g;
    }
#end
    sum_d += total(a$e);
    sum_dx += total(b$e);
#end
    let mean_d = sum_d / f32(p.width);
    let mean_dx = sum_dx / f32(p.width);
    if row >= p.rows { return; }
#repeat i 4
#repeat e 8
    if $iu * 8u + $eu < GROUPS {
        let v = s.y * (d$i_$e - mean_d - h$i_$e * mean_dx);
        give(base + $iu * 8u + $eu, v * lanes($iu * 8u + $eu, p.width));
    }
#end
#end
}
@compute @workgroup_size(8)
fn backward_all_narrow(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let block = grid(wg).x;
    for (var t = 0u; t < 64u; t += 8u) { narrow_gradient(block * 64u + t + lane); }
#repeat i 4
#repeat e 8
    if $iu * 8u + $eu < GROUPS {
        let s = subgroupAdd(ns$i_$e) * lanes($iu * 8u + $eu, p.width);
        let b = subgroupAdd(nb$i_$e) * lanes($iu * 8u + $eu, p.width);
        if lane == $eu {
            part_st4((block * 2u) * p.groups + $iu * 8u + $eu, s);
            part_st4((block * 2u + 1u) * p.groups + $iu * 8u + $eu, b);
        }
    }
#end
#end
}
