"""02 predict: gradients of small expressions, computed by you.

Replace each `...` by a number, or by a calculation such as 2 * 3.

The chain rule: if y is computed from u, and u from x, then

    dy/dx = dy/du * du/dx

If y depends on x in several ways, the contributions of all of them are added.
You need these derivatives: (c x)' = c, (x + c)' = 1, (x^2)' = 2 x,
(ln x)' = 1 / x. In a product u * v, the derivative with respect to u is v,
and that with respect to v is u.
"""

# 1. y = 5 * (x + 2)                     at x = 1
dy_dx_1 = 5

# 2. y = a * b                           at a = 2, b = 7
dy_da_2 = 7
dy_db_2 = 2

# 3. u = 3 * x, y = u^2                  at x = 1
dy_dx_3 = 2 * 3 * 3

# 4. y = x * x + x: x is used 3 times    at x = 4
dy_dx_4 = 4 + 4 + 1

# 5. b = a + a, c = b + b                at a = 1
dc_da_5 = 4

# 6. u = x^2, y = u * x                  at x = 2
dy_dx_6 = 2 * (2 * 2) + 2**2

# 7. y = max(x, 0), the function "ReLU"  at x = -3
dy_dx_7 = 0

# 8. y = -ln(p)                          at p = 0.25
dy_dp_8 = -4
