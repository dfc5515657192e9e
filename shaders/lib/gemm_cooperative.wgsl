// What the cooperative families of `basic/gemm` share: matrices of T x T, half-precision operands, single-precision sums. Four subgroups own
// a tile of 4T x 4T outputs, each a quarter of it in four matrices; 16 k at a time lie in workgroup memory, as they are stored.
// A product that a ReLU follows is made of both halves of its operands, x = high + low / 2048: whether a unit is off must not be a matter of
// rounding, because with it goes its whole gradient.
enable f16;
enable subgroups;
enable wgpu_cooperative_matrix;
// Four subgroups; and whether operands come in two halves.
override LANES: u32 = 128u;
override SPLIT: bool = false;
const TILE: u32 = 4u * T;
const DEEP: u32 = 16u;
// Rows are followed by eight elements that keep them in different banks and aligned to 16 bytes.
const WIDE: u32 = TILE + 8u;
const LONG: u32 = DEEP + 8u;
var<workgroup> a_tile: array<f16, TILE * LONG>;
var<workgroup> b_tile: array<f16, TILE * LONG>;
var<workgroup> a_low: array<f16, TILE * LONG>;
var<workgroup> b_low: array<f16, TILE * LONG>;
var<workgroup> part: array<f32, 4u * T * T>;

// What half precision holds of v without rounding, made from its bits: fast mathematics would take a conversion there and back for nothing.
fn upper(v: vec4<f32>) -> vec4<f32> { return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) & vec4<u32>(0xffffe000u)); }
fn hold_a(to: u32, v: vec4<f32>) {
    let top = select(v, upper(v), SPLIT);
    let high = vec4<f16>(top);
    a_tile[to] = high.x; a_tile[to + 1u] = high.y; a_tile[to + 2u] = high.z; a_tile[to + 3u] = high.w;
    if !SPLIT { return; }
    let low = vec4<f16>((v - top) * 2048.0);
    a_low[to] = low.x; a_low[to + 1u] = low.y; a_low[to + 2u] = low.z; a_low[to + 3u] = low.w;
}
fn hold_b(to: u32, v: vec4<f32>) {
    let top = select(v, upper(v), SPLIT);
    let high = vec4<f16>(top);
    b_tile[to] = high.x; b_tile[to + 1u] = high.y; b_tile[to + 2u] = high.z; b_tile[to + 3u] = high.w;
    if !SPLIT { return; }
    let low = vec4<f16>((v - top) * 2048.0);
    b_low[to] = low.x; b_low[to + 1u] = low.y; b_low[to + 2u] = low.z; b_low[to + 3u] = low.w;
}

// Place i of the matrices (y, x) of all subgroups, as subgroups keep them one after the other: row and group of the tile.
fn place(i: u32, y: u32, x: u32) -> vec2<u32> {
    let owner = i / (T * T / 4u);
    let within = i % (T * T / 4u);
    return vec2<u32>((owner >> 1u) * 2u * T + y * T + within / (T / 4u), (owner & 1u) * (T / 2u) + x * (T / 4u) + within % (T / 4u));
}

@compute @workgroup_size(LANES)
fn gemm(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) subgroup: u32) {
    let at = grid(wg);
    let batch = vec2<u32>(at.z, at.y / p.n_tiles);
    let row = at.x * TILE;
    let group = at.y % p.n_tiles * T;
    // A split sum: batch axis 0 counts blocks of k rows, and the last block may be short.
    let k_end = min(p.k, p.k_all - select(0u, batch.x * p.k, p.k_all > p.k));
    let k_last = (k_end - 1u) >> 2u;
    let a_base = batch.x * p.as0 + batch.y * p.as1;
    let b_base = batch.x * p.bs0 + batch.y * p.bs1;
    let m_first = (subgroup >> 1u) * 2u * T;
    let n_first = (subgroup & 1u) * 2u * T;
#repeat y 2
#repeat x 2
    var c$y$x = Sum();
    var l$y$x = Sum();
    if CHAIN {
        for (var i = lane; i < T * T; i += LANES) {
            let to = place(i, $yu, $xu);
            let v = begin(batch, row + to.x, group + to.y);
            part[i * 4u] = v.x; part[i * 4u + 1u] = v.y; part[i * 4u + 2u] = v.z; part[i * 4u + 3u] = v.w;
        }
        workgroupBarrier();
        c$y$x = coopLoadT<Sum>(&part[subgroup * T * T], T);
        workgroupBarrier();
    }
#end
#end
    for (var k = 0u; k < k_end; k += DEEP) {
        for (var i = lane; i < TILE * DEEP / 4u; i += LANES) {
            // Of an operand stored [k, ..] row i / T and group i % T; of the other kind row i / 4 and group i % 4. Beyond the last k A is zero.
            let q = (k >> 2u) + (i & 3u);
            var v: vec4<f32>;
            var to: u32;
            if TA { v = a_at(batch.x, a_base, k + i / T, at.x * T + i % T, k_end); to = i / T * WIDE + i % T * 4u; } else {
                v = select(vec4<f32>(0.0), a_at(batch.x, a_base, row + (i >> 2u), min(q, k_last), k_end), q <= k_last);
                to = (i >> 2u) * LONG + (i & 3u) * 4u;
            }
            hold_a(to, v);
            if TB { v = b_at(b_base, group * 4u + (i >> 2u), min(q, k_last), k_end); to = (i >> 2u) * LONG + (i & 3u) * 4u; } else {
                v = b_at(b_base, k + i / T, group + i % T, k_end);
                to = i / T * WIDE + i % T * 4u;
            }
            hold_b(to, v);
        }
        workgroupBarrier();
        for (var d = 0u; d < DEEP; d += T) {
#repeat i 2
            var a$i = Left();
            var b$i = Right();
            let m$i = m_first + $iu * T;
            let n$i = n_first + $iu * T;
            if TA { a$i = coopLoad<Left>(&a_tile[d * WIDE + m$i], WIDE); } else { a$i = coopLoadT<Left>(&a_tile[m$i * LONG + d], LONG); }
            if TB { b$i = coopLoad<Right>(&b_tile[n$i * LONG + d], LONG); } else { b$i = coopLoadT<Right>(&b_tile[d * WIDE + n$i], WIDE); }
#end
#repeat y 2
#repeat x 2
            c$y$x = coopMultiplyAdd(a$y, b$x, c$y$x);
#end
#end
            if SPLIT {
#repeat i 2
                var d$i = Left();
                var e$i = Right();
                if TA { d$i = coopLoad<Left>(&a_low[d * WIDE + m$i], WIDE); } else { d$i = coopLoadT<Left>(&a_low[m$i * LONG + d], LONG); }
                if TB { e$i = coopLoad<Right>(&b_low[n$i * LONG + d], LONG); } else { e$i = coopLoadT<Right>(&b_low[d * WIDE + n$i], WIDE); }
#end
#repeat y 2
#repeat x 2
                l$y$x = coopMultiplyAdd(a$y, e$x, l$y$x);
                l$y$x = coopMultiplyAdd(d$y, b$x, l$y$x);
#end
#end
            }
        }
        workgroupBarrier();
    }
    // Sums of columns stay in single precision.
    if SUMS && at.x == 0u && lane < T {
        var e = begin_sums(batch, group + lane);
        for (var k = 0u; k < k_end; k++) { e += b_at(b_base, k, group + lane, k_end); }
        finish_sums(batch, group + lane, e);
    }
#repeat y 2
#repeat x 2
    if SPLIT { c$y$x = c$y$x + l$y$x * 0.00048828125; }
    coopStoreT(c$y$x, &part[subgroup * T * T], T);
    workgroupBarrier();
    for (var i = lane; i < T * T; i += LANES) {
        let to = place(i, $yu, $xu);
        finish(batch, row + to.x, group + to.y, vec4<f32>(part[i * 4u], part[i * 4u + 1u], part[i * 4u + 2u], part[i * 4u + 3u]));
    }
    workgroupBarrier();
#end
#end
}
