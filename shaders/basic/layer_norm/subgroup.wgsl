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

// The same for rows of up to 128 channels, a lane a row: what the lanes have seen is added at the end.
#repeat i 32
var<private> ns$i: vec4<f32>;
var<private> nb$i: vec4<f32>;
#end
fn narrow_gradient(row: u32) {
    let at = min(row, p.rows - 1u);
    let base = at * p.groups;
    let s = stats_ld4(at);
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
#repeat i 32
    var d$i: vec4<f32>;
    var h$i: vec4<f32>;
    if $iu < GROUPS {
        let e = select(vec4<f32>(0.0), dy_ld4(base + $iu), row < p.rows);
        d$i = e * scale_ld4($iu);
        h$i = (x_ld4(base + $iu) - s.x) * s.y;
        a += d$i;
        b += d$i * h$i;
        ns$i += e * h$i;
        nb$i += e;
    }
#end
    let mean_d = total(a) / f32(p.width);
    let mean_dx = total(b) / f32(p.width);
    if row >= p.rows { return; }
#repeat i 32
    if $iu < GROUPS { give(base + $iu, s.y * (d$i - mean_d - h$i * mean_dx) * lanes($iu, p.width)); }
#end
}
@compute @workgroup_size(8)
fn backward_all_narrow(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let block = grid(wg).x;
    for (var t = 0u; t < 64u; t += 8u) { narrow_gradient(block * 64u + t + lane); }
#repeat i 32
    if $iu < GROUPS {
        let s = subgroupAdd(ns$i);
        let b = subgroupAdd(nb$i);
        if lane == ($iu & 7u) {
            part_st4((block * 2u) * p.groups + $iu, s * lanes($iu, p.width));
            part_st4((block * 2u + 1u) * p.groups + $iu, b * lanes($iu, p.width));
        }
    }
#end
}
