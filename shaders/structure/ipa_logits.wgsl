// Logits of invariant point attention: query i, head h, key j
//   l = s <q, k> - (w/2) sum |Q - K|^2 + sqrt(1/3) b[i, j, h] - inf m_i (1 - m_j),   s = sqrt(1/(3 c)), w = wp softplus(raw_h)
// A query or key is its c scalars, then its points in global coordinates; all lanes are treated alike but for what is summed.
#import bits
#storage q
#storage k
#storage bias
#storage mask
#storage raw
#storage y
#storage dy
#storage dq
#storage dk
#storage dbias
#storage part
#storage sums
#storage draw
struct Params { n: u32, heads: u32, c: u32, width: u32, gq: u32, gj: u32, gh: u32, s: f32, wp: f32, wb: f32, inf: f32, block: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }
fn weight(head: u32) -> f32 { return p.wp * softplus(raw_ld(head)); }

// Grid: x walks heads and groups of keys, y the queries.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let head = flat / p.gj;
    let g = flat % p.gj;
    let i = at.y;
    if head >= p.heads { return; }
    let w = -0.5 * weight(head);
    let first = g * 4u;
    let last = p.n - 1u;
    // Keys beyond the last repeat it; their lanes are dropped.
    let j = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last));
    let row = (j * p.heads + head) * p.gq;
    var l = vec4<f32>(0.0);
    for (var e = 0u; e < p.gq; e++) {
        let a = q_ld4((i * p.heads + head) * p.gq + e);
        let scalar = lanes(e, p.c);
        let point = w * (1.0 - scalar);
#repeat t 4
        let k$t = k_ld4(row[$t] + e);
        l[$t] += dot(p.s * scalar * a, k$t) + dot(point * (a - k$t), a - k$t);
#end
    }
    let b = j * p.gh * 4u + head + i * p.n * p.gh * 4u;
    l += p.wb * vec4<f32>(bias_ld(b.x), bias_ld(b.y), bias_ld(b.z), bias_ld(b.w));
    let m = vec4<f32>(mask_ld(j.x), mask_ld(j.y), mask_ld(j.z), mask_ld(j.w));
    l -= p.inf * mask_ld(i) * (1.0 - m);
    y_st4((i * p.heads + head) * p.gj + g, l * lanes(g, p.n));
}

// dq = sum_j dl_ij s k_j for scalars, -w sum_j dl_ij (Q_i - K_j) for points; part = -1/2 sum_j dl_ij (Q_i - K_j)^2, lane by lane
@compute @workgroup_size(64)
fn backward_q(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let head = flat / p.gq;
    let e = flat % p.gq;
    if head >= p.heads { return; }
    let row = at.y * p.heads + head;
    let a = q_ld4(row * p.gq + e);
    let scalar = p.s * lanes(e, p.c);
    let w = weight(head);
    let point = 1.0 - lanes(e, p.c);
    var sum = vec4<f32>(0.0);
    var square = vec4<f32>(0.0);
    for (var g = 0u; g < p.gj; g++) {
        let d = dy_ld4(row * p.gj + g);
#repeat t 4
        {
            let j = min(g * 4u + $tu, p.n - 1u);
            let b = k_ld4((j * p.heads + head) * p.gq + e);
            let off = point * (a - b);
            sum += d[$t] * (scalar * b - w * off);
            square += d[$t] * off * off;
        }
#end
    }
    dq_st4(row * p.gq + e, sum * lanes(e, p.width));
    part_st4(row * p.gq + e, -0.5 * square * lanes(e, p.width));
}

// dk = sum_i dl_ij s q_i for scalars, w sum_i dl_ij (Q_i - K_j) for points
@compute @workgroup_size(64)
fn backward_k(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let head = flat / p.gq;
    let e = flat % p.gq;
    if head >= p.heads { return; }
    let b = k_ld4((at.y * p.heads + head) * p.gq + e);
    let scalar = p.s * lanes(e, p.c);
    let point = weight(head) * (1.0 - lanes(e, p.c));
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < p.n; i++) {
        let row = i * p.heads + head;
        let a = q_ld4(row * p.gq + e);
        sum += dy_ld(row * p.gj * 4u + at.y) * (scalar * a + point * (a - b));
    }
    dk_st4((at.y * p.heads + head) * p.gq + e, sum * lanes(e, p.width));
}

// db[i, j, h] = sqrt(1/3) dl[i, h, j]. Grid: x walks keys and groups of heads, y the queries.
@compute @workgroup_size(64)
fn backward_bias(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let j = flat / p.gh;
    let g = flat % p.gh;
    if j >= p.n { return; }
    let last = p.heads - 1u;
    let h = min(vec4<u32>(g * 4u, g * 4u + 1u, g * 4u + 2u, g * 4u + 3u), vec4<u32>(last));
    let place = (at.y * p.heads + h) * p.gj * 4u + j;
    let d = vec4<f32>(dy_ld(place.x), dy_ld(place.y), dy_ld(place.z), dy_ld(place.w));
    dbias_st4((at.y * p.n + j) * p.gh + g, p.wb * d * lanes(g, p.heads));
}

// What a block of queries and all lanes of one head add up to.
fn block_sum(block: u32, head: u32) -> f32 {
    if head >= p.heads { return 0.0; }
    var sum = vec4<f32>(0.0);
    for (var i = block * p.block; i < min((block + 1u) * p.block, p.n); i++) {
        for (var e = 0u; e < p.gq; e++) { sum += part_ld4((i * p.heads + head) * p.gq + e); }
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// sums[block, h]: grid x walks blocks of queries and groups of heads.
@compute @workgroup_size(64)
fn backward_block(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let flat = grid(wg).x * 64u + lane;
    let block = flat / p.gh;
    let h = flat % p.gh * 4u;
    if block >= p.blocks { return; }
    sums_st4(flat, vec4<f32>(block_sum(block, h), block_sum(block, h + 1u), block_sum(block, h + 2u), block_sum(block, h + 3u)));
}

// draw = wp sigmoid(raw) sum over the blocks, in order
@compute @workgroup_size(64)
fn backward_weight(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.gh { return; }
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < p.blocks; k++) { sum += sums_ld4(k * p.gh + g); }
    draw_st4(g, p.wp * sum / (1.0 + exp(-raw_ld4(g))) * lanes(g, p.heads));
}
