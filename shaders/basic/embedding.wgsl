// y[o, j] = w[row(o, j)] + b: a linear map of a one-hot vector. The row is index[o, j], or for relative positions
// clip(index[o] - index[j] + reach, 0, 2 reach). A row that the table does not have adds nothing, as the one-hot of it is all zero.
#import bits
#storage index i32
#storage w
#storage b
#storage y
#storage dy
#storage part
#storage dw
#storage db
struct Params {
    table: u32, groups: u32, width: u32, outer: u32, columns: u32, pitch: u32, relative: u32, reach: i32, bias: u32,
    o0: u32, j0: u32, dy_pitch: u32, block_o: u32, block_j: u32, blocks_j: u32, blocks: u32, chain: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

fn row(o: u32, j: u32) -> i32 {
    if p.relative == 1u { return clamp(index_ld(p.o0 + o) - index_ld(p.j0 + j) + p.reach, 0, 2 * p.reach); }
    return index_ld(o * p.pitch + j);
}
fn known(k: i32) -> bool { return k >= 0 && k < i32(p.table); }

// A workgroup makes 16 columns of one outer row.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    for (var flat = lane; flat < 16u * p.groups; flat += 64u) {
        let j = at.x * 16u + flat / p.groups;
        let g = flat % p.groups;
        if j < p.columns {
            let k = row(at.y, j);
            var v = vec4<f32>(0.0);
            if p.bias == 1u { v = b_ld4(g); }
            if known(k) { v += w_ld4(u32(k) * p.groups + g); }
            y_st4((at.y * p.columns + j) * p.groups + g, v * lanes(g, p.width));
        }
    }
}

// part[block][k] = sum of dy over the places (o, j) of the block whose row is k; row `table` holds the bias's sum over all places.
// An invocation owns its group of every row and adds to memory in the order of places, so that no order ever changes. Blocks have a
// fixed logical size; a launch with `chain` goes on from what is stored.
@compute @workgroup_size(64)
fn backward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.z * 64u + lane;
    if g >= p.groups { return; }
    let base = (at.x * p.blocks_j + at.y) * (p.table + 1u) * p.groups + g;
    if p.chain == 0u {
        for (var k = 0u; k <= p.table; k++) { part_st4(base + k * p.groups, vec4<f32>(0.0)); }
    }
    var all = part_ld4(base + p.table * p.groups);
    let o_first = at.x * p.block_o;
    let j_first = at.y * p.block_j;
    for (var o = o_first; o < min(o_first + p.block_o, p.outer); o++) {
        for (var j = j_first; j < min(j_first + p.block_j, p.columns); j++) {
            let d = dy_ld4(o * p.dy_pitch + j * p.groups + g);
            all += d;
            let k = row(o, j);
            if known(k) {
                let to = base + u32(k) * p.groups;
                part_st4(to, part_ld4(to) + d);
            }
        }
    }
    part_st4(base + p.table * p.groups, all);
}

// dw[k] = sum over blocks, in order, of part[block][k];  db = the same of the last row.
@compute @workgroup_size(64)
fn backward_w(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let flat = grid(wg).x * 64u + lane;
    if flat >= p.table * p.groups { return; }
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = dw_ld4(flat); }
    for (var s = 0u; s < p.blocks; s++) { sum += part_ld4(s * (p.table + 1u) * p.groups + flat); }
    dw_st4(flat, sum * lanes(flat % p.groups, p.width));
}
@compute @workgroup_size(64)
fn backward_b(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.groups { return; }
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = db_ld4(g); }
    for (var s = 0u; s < p.blocks; s++) { sum += part_ld4((s * (p.table + 1u) + p.table) * p.groups + g); }
    db_st4(g, sum * lanes(g, p.width));
}
