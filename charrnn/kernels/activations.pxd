# cython: cdivision=True
"""exp, tanh and the logistic sigmoid of a vector, to within a few units in the last place over the whole range (tests
say how many).

All rest on exp(x) = 2^n exp(r), r = x - n ln 2, |r| <= ln(2)/2, with n ln 2 subtracted in two parts (Cody and
Waite) and exp(r) - 1 = r + r^2 q(r), where q is a minimax polynomial (Remez): relative error 1.3e-8 of degree 4
for float32, 2.1e-17 of degree 9 for float64.
"""
from charrnn.kernels.simd cimport REAL_IS_DOUBLE, ROUNDER, real, vmax, vmin, vpow2, vreal, vsplat


cdef inline vreal _shifted_exponent(vreal x) noexcept nogil:
    """n + ROUNDER, where n is the integer nearest to x / ln 2."""
    return x * <real>1.44269504088896340736 + ROUNDER


cdef inline vreal _expm1_of_remainder(vreal x, vreal n) noexcept nogil:
    """exp(r) - 1 for r = x - n ln 2."""
    cdef vreal r, q
    if REAL_IS_DOUBLE:
        r = x - n * <real>0.6931471805592082091607153
        r = r - n * <real>7.371002565167798901834e-13
        q = r * <real>2.5161796190204376215e-8 + <real>2.762850446611842637e-7
        q = q * r + <real>2.7557115304528475749e-6
        q = q * r + <real>2.480149907515504936e-5
        q = q * r + <real>1.984126998864300529e-4
        q = q * r + <real>1.3888888936729337112e-3
        q = q * r + <real>8.3333333332925881983e-3
        q = q * r + <real>4.1666666666560795776e-2
        q = q * r + <real>1.6666666666666696935e-1
        q = q * r + <real>5.0000000000000065567e-1
    else:
        r = x - n * <real>0.693115234375
        r = r - n * <real>3.19461849453e-5
        q = r * <real>1.38824917283e-3 + <real>8.36664711125e-3
        q = q * r + <real>4.16672040029e-2
        q = q * r + <real>1.66665426812e-1
        q = q * r + <real>4.99999981327e-1
    return r + (r * r) * q


cdef inline vreal vexp(vreal x) noexcept nogil:
    """exp(x): +inf beyond the largest finite result, subnormal results rounded, 0 beneath them, NaN for NaN."""
    cdef vreal shifted, n, half, low, high, p
    # Beyond these bounds the result is 0 or +inf, and n stays in the range of two factors.
    if REAL_IS_DOUBLE:
        x = vmax(vmin(x, vsplat(710)), vsplat(-746))
    else:
        x = vmax(vmin(x, vsplat(89)), vsplat(-104))
    shifted = _shifted_exponent(x)
    n = shifted - ROUNDER
    p = _expm1_of_remainder(x, n)
    # 2^n may lie outside the normal numbers, where 2^(n/2) does not.
    half = n * <real>0.5 + ROUNDER
    low = vpow2(half)
    high = vpow2(n - (half - ROUNDER) + ROUNDER)
    return (p * low + low) * high


cdef inline vreal vtanh(vreal x) noexcept nogil:
    """tanh(x) = e / (e + 2), where e = exp(2x) - 1; NaN for NaN."""
    cdef vreal y, shifted, n, scale, e
    # From here on tanh is 1 to the last place.
    y = vsplat(20) if REAL_IS_DOUBLE else vsplat(10)
    y = vmax(vmin(x, y), -y)
    y = y + y
    shifted = _shifted_exponent(y)
    n = shifted - ROUNDER
    scale = vpow2(shifted)
    e = scale * _expm1_of_remainder(y, n) + (scale - <real>1)
    return e / (e + vsplat(2))


cdef inline vreal vsigmoid(vreal x) noexcept nogil:
    """1 / (1 + exp(-x)) = e / (1 + e), where e = exp(x); NaN for NaN."""
    # From here on it is 1 to the last place, and e is finite.
    cdef vreal e = vexp(vmin(x, vsplat(40)))
    return e / (e + vsplat(1))
