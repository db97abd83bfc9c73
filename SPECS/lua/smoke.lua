-- What the package promises, checked with the program that was just built.
assert(_VERSION == "Lua 5.4")

-- The language.
local function fibonacci(n) return n < 2 and n or fibonacci(n - 1) + fibonacci(n - 2) end
assert(fibonacci(20) == 6765)
assert(7 // 2 == 3 and 7 / 2 == 3.5 and 1 << 40 == 1099511627776)
assert(math.type(2^53) == "float" and math.type(2) == "integer")
local generator = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
assert(generator() + generator() + generator() == 6)
do
    local closed = false
    do local guard <close> = setmetatable({}, { __close = function() closed = true end }) end
    assert(closed)
end

-- The libraries.
assert(("key=value"):match("(%w+)=(%w+)") == "key")
assert(utf8.len("größe") == 5)
assert(string.unpack("<i4", string.pack("<i4", -2)) == -2)
assert(not pcall(error, "refused"))
assert(load(string.dump(function() return 42 end))() == 42)

-- Modules are looked for where the distribution installs them.
assert(package.path:find("/usr/share/lua/5.4/?.lua", 1, true))
assert(package.cpath:find("/usr/lib/lua/5.4/?.so", 1, true))
print("lua: all assertions hold")
