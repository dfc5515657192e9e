// The sum of Algorithms 11 and 12 is one product of matrices for each channel. On CPUs `basic/gemm` makes it, with channels turned to the
// outside; here is the kernel for GPUs, with pairs read where they lie: tiles of 64 x 32 pairs and 4 k in workgroup memory, for two
// groups of channels side by side; an invocation makes four by four pairs of one group. Strides count groups of four; each operand has
// one of the pair's residues and k on its two axes, in either order. A gated operand is mask * a * sigmoid(gate), made as it is read; its
// mask's strides count elements.
#import gate
#storage a
#storage a_gate
#storage a_mask
#storage b
#storage b_gate
#storage b_mask
#storage y
struct Params {
    n: u32, k: u32, groups: u32, y0: u32, yt: u32, y1: u32,
    at: u32, ai: u32, ak: u32, agt: u32, agi: u32, agk: u32, amt: u32, ami: u32, amk: u32,
    bt: u32, bj: u32, bk: u32, bgt: u32, bgj: u32, bgk: u32, bmt: u32, bmj: u32, bmk: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
override A_GATED: bool = false;
override B_GATED: bool = false;
// The sum goes on from what y holds.
override CHAIN: bool = false;
// [k, row, group]
var<workgroup> a_tile: array<vec4<f32>, 512>;
var<workgroup> b_tile: array<vec4<f32>, 256>;

fn a_at(t: u32, i: u32, k: u32, g: u32) -> vec4<f32> {
    let v = a_ld4(t * p.at + i * p.ai + k * p.ak + g);
    if A_GATED { return under_gate(v, a_mask_ld(t * p.amt + i * p.ami + k * p.amk), a_gate_ld4(t * p.agt + i * p.agi + k * p.agk + g)); }
    return v;
}
fn b_at(t: u32, j: u32, k: u32, g: u32) -> vec4<f32> {
    let v = b_ld4(t * p.bt + j * p.bj + k * p.bk + g);
    if B_GATED { return under_gate(v, b_mask_ld(t * p.bmt + j * p.bmj + k * p.bmk), b_gate_ld4(t * p.bgt + j * p.bgj + k * p.bgk + g)); }
    return v;
}

// y[i, t, j] = sum_k a[i, t, k] b[j, t, k] for each channel and each of the squares side by side.
@compute @workgroup_size(256)
fn product(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let c = lane & 1u;
    let pairs = (p.groups + 1u) >> 1u;
    let t = at.z / pairs;
    let own = at.z % pairs * 2u + c;
    let g = min(own, p.groups - 1u);
    let x = (lane >> 1u) & 7u;
    let row = lane >> 4u;
    // What an invocation loads: one k of three rows.
    let q = (lane >> 1u) & 3u;
    let r = lane >> 3u;
    let a_low = min(at.x * 64u + r, p.n - 1u);
    let a_high = min(at.x * 64u + r + 32u, p.n - 1u);
    let b_row = min(at.y * 32u + r, p.n - 1u);
    // Neighbours take neighbouring pairs, so that they read and write side by side.
#repeat i 4
    let i$i = at.x * 64u + $iu * 16u + row;
    let j$i = at.y * 32u + $iu * 8u + x;
#end
#repeat i 4
#repeat j 4
    var s$i_$j = vec4<f32>(0.0);
    if CHAIN { s$i_$j = y_ld4(min(i$i, p.n - 1u) * p.y0 + min(j$j, p.n - 1u) * p.y1 + t * p.yt + g); }
#end
#end
    for (var k = 0u; k < p.k; k += 4u) {
        let inside = k + q < p.k;
        let l = min(k + q, p.k - 1u);
        a_tile[(q * 64u + r) * 2u + c] = select(vec4<f32>(0.0), a_at(t, a_low, l, g), inside);
        a_tile[(q * 64u + r + 32u) * 2u + c] = select(vec4<f32>(0.0), a_at(t, a_high, l, g), inside);
        b_tile[(q * 32u + r) * 2u + c] = b_at(t, b_row, l, g);
        workgroupBarrier();
#repeat d 4
        {
#repeat i 4
            let u$i = a_tile[($du * 64u + $iu * 16u + row) * 2u + c];
            let v$i = b_tile[($du * 32u + $iu * 8u + x) * 2u + c];
#end
#repeat i 4
#repeat j 4
            s$i_$j += u$i * v$j;
#end
#end
        }
#end
        workgroupBarrier();
    }
    if own >= p.groups { return; }
#repeat i 4
#repeat j 4
    if i$i < p.n && j$j < p.n { y_st4(i$i * p.y0 + j$j * p.y1 + t * p.yt + g, s$i_$j); }
#end
#end
}
