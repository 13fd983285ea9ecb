-- The sensor service in Lua: the page, the latest reading, and an answer that only a living application can give.
--
-- It speaks SCGI on a Unix socket to the web server in front of it: SCGI needs no more than splitting a string.
-- The PHP sister (parts/php-fpm) must behave the same and shares no code, so that one mistake is not two.

local cjson = require "cjson"
local digest = require "openssl.digest"
local hmac = require "openssl.hmac"
local fcntl = require "posix.fcntl"
local signal = require "posix.signal"
local socket = require "posix.sys.socket"
local systime = require "posix.sys.time"
local wait = require "posix.sys.wait"
local unistd = require "posix.unistd"

local PAGE <const> = "/srv/sensor/page.html"
local STORE <const> = "/var/lib/sensor/readings.json"
local KEY <const> = "/etc/koboshi/challenge.key"
local SOCKET <const> = "/run/koboshi/sensor.sock"
local BODY_MAX <const> = 4096
local TAKEN_MAX <const> = 65536
local HEAD_MAX <const> = 32768
local PATIENCE_S <const> = 10
local WORKERS <const> = 2
local WWW_DATA <const> = 33
local REASONS <const> = {[200] = "OK", [400] = "Bad Request", [404] = "Not Found", [405] = "Method Not Allowed",
	[413] = "Content Too Large", [500] = "Internal Server Error", [503] = "Service Unavailable"}
local KNOWN <const> = {
	["/"] = {GET = true, HEAD = true},
	["/api/reading"] = {GET = true, HEAD = true, POST = true},
	["/api/challenge"] = {GET = true, HEAD = true},
}

cjson.decode_invalid_numbers(false)

-- Ends a request with a status and one sentence; any other error ends its connection only.
local function refuse(status, sentence)
	error({status = status, sentence = sentence})
end

local function read_file(path)
	local file = io.open(path, "rb")
	if not file then
		return nil
	end
	local text = file:read("a")
	file:close()
	return text
end

local function write_file(path, text)
	local file = io.open(path, "wb")
	local good = file and file:write(text)
	return file and file:close() and good
end

local function now()
	local time = systime.gettimeofday()
	return string.format("%d.%03d", time.tv_sec, time.tv_usec // 1000)
end

-- %.17g gives every number back as it came; that of a whole one is the same with %d.
local function number(value)
	return math.type(value) == "integer" and string.format("%d", value) or string.format("%.17g", value)
end

-- What is stored, with value added to it first. The lock is on a file of its own because the store is replaced.
local function readings(value)
	local lock = fcntl.open(STORE .. ".lock", fcntl.O_RDWR | fcntl.O_CREAT, 438)
	if not lock then
		refuse(503, "The store of readings cannot be used.")
	end
	local type = value and fcntl.F_WRLCK or fcntl.F_RDLCK
	fcntl.fcntl(lock, fcntl.F_SETLKW, {l_type = type, l_whence = unistd.SEEK_SET, l_start = 0, l_len = 0})
	local stored = read_file(STORE) or '{"value":null,"unit":"celsius","stored":0,"last":null}'
	local good = true
	if value then
		local count = cjson.decode(stored).stored + 1
		stored = string.format('{"value":%s,"unit":"celsius","stored":%d,"last":%s}', number(value), count, now())
		good = write_file(STORE .. ".new", stored) and os.rename(STORE .. ".new", STORE)
	end
	unistd.close(lock)
	if not good then
		refuse(503, "The store of readings cannot be used.")
	end
	return stored
end

local function reading_of(body)
	local good, said = pcall(cjson.decode, body)
	local value = good and type(said) == "table" and said.value
	if math.type(value) == nil or value ~= value or math.abs(value) == math.huge then
		refuse(400, "A reading is a JSON object with a finite number named value.")
	end
	return value
end

local function bytes(hexadecimal)
	return (hexadecimal:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hexadecimal(octets)
	return (octets:gsub(".", function(octet) return string.format("%02x", octet:byte()) end))
end

local function nonce_of(query)
	for word in query:gmatch("[^&]+") do
		local nonce = word:match("^nonce=(%x+)$")
		if nonce and #nonce >= 32 and #nonce <= 128 and #nonce % 2 == 0 then
			return bytes(nonce)
		end
	end
	refuse(400, "A challenge needs a nonce of 16 to 64 bytes in hexadecimal digits.")
end

local function challenge(query, page)
	local nonce = nonce_of(query)
	local key = (read_file(KEY) or ""):match("^%s*(%x+)%s*$")
	if not key or #key ~= 64 then
		refuse(503, "This instance was given no challenge key.")
	end
	local message = nonce .. digest.new("sha256"):final(page)
	local answer = hexadecimal(hmac.new(bytes(key), "sha256"):final(message))
	return string.format('{"digest":"%s","clock":%s}', answer, now())
end

local function respond(method, path, query, body)
	if not KNOWN[path] then
		refuse(404, "There is nothing at this path.")
	end
	if not KNOWN[path][method] then
		refuse(405, "This path does not take that method.")
	end
	if path == "/api/reading" then
		return "application/json", readings(method == "POST" and reading_of(body()) or nil) .. "\n"
	end
	local page = read_file(PAGE)
	if not page then
		refuse(500, "The page is gone.")
	end
	if path == "/api/challenge" then
		return "application/json", challenge(query, page) .. "\n"
	end
	return "text/html; charset=utf-8", page
end

-- Returns a function that gives exactly so many bytes of the connection, or raises an error.
local function reader(connection)
	local got = ""
	return function(length)
		while #got < length do
			local more = socket.recv(connection, 16384)
			if not more or more == "" then
				error("the request ends too early")
			end
			got = got .. more
		end
		local taken = got:sub(1, length)
		got = got:sub(length + 1)
		return taken
	end
end

-- The request's variables: a count of bytes, a colon, name and value in turn each ended by NUL, a comma.
local function receive_head(take)
	local digits = ""
	local octet = take(1)
	while octet ~= ":" do
		digits = digits .. octet
		if not octet:match("%d") or #digits > 5 then
			error("the request has no length")
		end
		octet = take(1)
	end
	local length = tonumber(digits)
	if not length or length > HEAD_MAX then
		error("the request's head is too long")
	end
	local head = {}
	for name, value in take(length + 1):gmatch("([^\0]*)\0([^\0]*)\0") do
		head[name] = value
	end
	return head
end

local function send_all(connection, text)
	while text ~= "" do
		local sent = socket.send(connection, text)
		if not sent then
			error("the answer cannot be sent")
		end
		text = text:sub(sent + 1)
	end
end

local function serve(connection)
	for _, way in ipairs {socket.SO_RCVTIMEO, socket.SO_SNDTIMEO} do
		socket.setsockopt(connection, socket.SOL_SOCKET, way, PATIENCE_S, 0)
	end
	local take = reader(connection)
	local head = receive_head(take)
	local length = tonumber(head.CONTENT_LENGTH or "") or 0
	local method = head.REQUEST_METHOD or ""
	local path, query = (head.REQUEST_URI or "/"):match("^([^?]*)%??(.*)$")

	-- Taken in even if nobody will look at it: the web server calls an application that hangs up early a dead one.
	local content = take(math.max(0, math.min(length, TAKEN_MAX)))
	local function body()
		if length ~= #content or length > BODY_MAX then
			refuse(413, "A reading has at most 4096 bytes.")
		end
		return content
	end

	local status = 200
	local good, kind, answered = pcall(respond, method, path, query, body)
	if not good then
		local refusal = kind
		if type(refusal) ~= "table" then
			error(refusal, 0)
		end
		status, kind, answered = refusal.status, "application/json", cjson.encode {error = refusal.sentence} .. "\n"
	end
	local answer = string.format("Status: %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n\r\n",
		status, REASONS[status], kind, #answered)
	send_all(connection, method == "HEAD" and answer or answer .. answered)
end

local function work(listener)
	while true do
		local connection = socket.accept(listener)
		if connection then
			local good, trouble = pcall(serve, connection)
			if not good then
				io.stderr:write("sensor: ", tostring(trouble), "\n")
			end
			unistd.close(connection)
		end
	end
end

local function listen()
	os.remove(SOCKET)
	local listener = assert(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0))
	assert(socket.bind(listener, {family = socket.AF_UNIX, path = SOCKET}))
	assert(unistd.chown(SOCKET, WWW_DATA, WWW_DATA))
	assert(socket.listen(listener, 64))
	assert(unistd.setpid("g", WWW_DATA))
	assert(unistd.setpid("u", WWW_DATA))
	return listener
end

signal.signal(signal.SIGPIPE, signal.SIG_IGN)
local listener = listen()
local running = 0
while true do
	while running < WORKERS do
		if unistd.fork() == 0 then
			work(listener)
		end
		running = running + 1
	end
	wait.wait(-1)
	running = running - 1
	unistd.sleep(1)
end
