// Layer normalisation over the innermost axis (QUIRKS: epsilon inside the root, biased variance in two passes), for GPUs: eight rows a
// workgroup, sums through workgroup memory.
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
var<workgroup> held: array<f32, 64>;

// The sum over the eight invocations of a row, in the same order for all of them.
fn sum8(lane: u32, v: f32) -> f32 {
    workgroupBarrier();
    held[lane] = v;
    workgroupBarrier();
    let first = lane & 56u;
    return ((held[first] + held[first + 1u]) + (held[first + 2u] + held[first + 3u]))
        + ((held[first + 4u] + held[first + 5u]) + (held[first + 6u] + held[first + 7u]));
}

var<workgroup> held4: array<vec4<f32>, 64>;
// The sum over the eight rows that invocations with one place in their rows have, for the first of them.
fn sum_of_rows(lane: u32, v: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    held4[lane] = v;
    workgroupBarrier();
    var sum = held4[lane & 7u];
    for (var row = 1u; row < 8u; row++) { sum += held4[row * 8u + (lane & 7u)]; }
    return sum;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    normalise(grid(wg).x * 8u + (lane >> 3u), lane & 7u, lane);
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    gradient(grid(wg).x * 8u + (lane >> 3u), lane & 7u, lane);
}

// Both at once, for up to 256 channels and blocks of 64 rows: dx, and part[k] = (sum dy*xhat, sum dy), eight rows at a time and then the sums of
// those that stand at one place among eight.
@compute @workgroup_size(64)
fn backward_all(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = grid(wg).x;
    let first = lane & 7u;
    for (var t = 0u; t < 8u; t++) { gradient(block * 64u + t * 8u + (lane >> 3u), first, lane); }
#repeat i 8
    if $iu * 8u < p.groups {
        let s$i = sum_of_rows(lane, ds$i);
        let b$i = sum_of_rows(lane, db$i);
        if lane < 8u && first + $iu * 8u < p.groups {
            part_st4((block * 2u) * p.groups + first + $iu * 8u, s$i * lanes(first + $iu * 8u, p.width));
            part_st4((block * 2u + 1u) * p.groups + first + $iu * 8u, b$i * lanes(first + $iu * 8u, p.width));
        }
    }
#end
}

// part[k] = (sum dy*xhat, sum dy) over the rows of block k: rows of a fixed logical size, so that the order of addition never changes.
@compute @workgroup_size(64)
fn backward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.y * 64u + lane;
    if g >= p.groups { return; }
    var ds = vec4<f32>(0.0);
    var db = vec4<f32>(0.0);
    let first = at.x * p.block;
    for (var row = first; row < min(first + p.block, p.rows); row++) {
        let s = stats_ld4(row);
        let d = dy_ld4(row * p.groups + g);
        ds = ds + d * (x_ld4(row * p.groups + g) - s.x) * s.y;
        db = db + d;
    }
    part_st4((at.x * 2u) * p.groups + g, ds * lanes(g, p.width));
    part_st4((at.x * 2u + 1u) * p.groups + g, db * lanes(g, p.width));
}
