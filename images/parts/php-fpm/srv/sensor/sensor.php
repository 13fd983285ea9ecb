<?php
// The sensor service in PHP: the page, the latest reading, and an answer that only a living application can give.
//
// Every request comes here, the page too: a server that still answers while its runtime is dead would otherwise look well.
// The Lua sister (parts/lua) must behave the same and shares no code, so that one mistake is not two.

const PAGE = '/srv/sensor/page.html';
const STORE = '/var/lib/sensor/readings.json';
const KEY = '/etc/koboshi/challenge.key';
const BODY_MAX = 4096;

function answer(int $status, string $type, string $body): never
{
	http_response_code($status);
	header('Content-Type: ' . $type);
	header('Content-Length: ' . strlen($body));
	header('Cache-Control: no-store');
	if ($_SERVER['REQUEST_METHOD'] !== 'HEAD')
		echo $body;
	exit;
}

function answer_json(array $what, int $status = 200): never
{
	answer($status, 'application/json', json_encode($what, JSON_PRESERVE_ZERO_FRACTION) . "\n");
}

function refuse(int $status, string $sentence): never
{
	answer_json(['error' => $sentence], $status);
}

// What is stored, with $value added to it first unless it is null. The lock is on a file of its own because the store is replaced.
function readings(?float $value): array
{
	$lock = fopen(STORE . '.lock', 'c');
	if (!$lock || !flock($lock, $value === null ? LOCK_SH : LOCK_EX))
		refuse(503, 'The store of readings cannot be locked.');
	$stored = json_decode((string) @file_get_contents(STORE), true) ?? ['value' => null, 'unit' => 'celsius', 'stored' => 0, 'last' => null];
	if ($value !== null) {
		$stored = ['value' => $value, 'unit' => 'celsius', 'stored' => $stored['stored'] + 1, 'last' => round(microtime(true), 3)];
		if (file_put_contents(STORE . '.new', json_encode($stored, JSON_PRESERVE_ZERO_FRACTION)) === false || !rename(STORE . '.new', STORE))
			refuse(503, 'The reading cannot be stored.');
	}
	fclose($lock);
	return $stored;
}

function reading_post(): never
{
	$body = (string) file_get_contents('php://input', false, null, 0, BODY_MAX + 1);
	if (strlen($body) > BODY_MAX)
		refuse(413, 'A reading has at most 4096 bytes.');
	$said = json_decode($body, true, 8);
	$value = is_array($said) ? $said['value'] ?? null : null;
	if (!is_int($value) && !is_float($value) || !is_finite($value))
		refuse(400, 'A reading is a JSON object with a finite number named value.');
	answer_json(readings((float) $value));
}

function challenge(string $query, string $page): never
{
	if (!preg_match('/(?:^|&)nonce=([0-9a-fA-F]{32,128})(?:&|$)/D', $query, $found) || strlen($found[1]) % 2)
		refuse(400, 'A challenge needs a nonce of 16 to 64 bytes in hexadecimal digits.');
	$key = @hex2bin(trim((string) @file_get_contents(KEY)));
	if ($key === false || strlen($key) !== 32)
		refuse(503, 'This instance was given no challenge key.');
	$digest = hash_hmac('sha256', hex2bin($found[1]) . hash('sha256', $page, true), $key);
	answer_json(['digest' => $digest, 'clock' => round(microtime(true), 3)]);
}

[$path, $query] = explode('?', $_SERVER['REQUEST_URI'], 2) + [1 => ''];
$method = $_SERVER['REQUEST_METHOD'];
$known = ['/' => ['GET', 'HEAD'], '/api/reading' => ['GET', 'HEAD', 'POST'], '/api/challenge' => ['GET', 'HEAD']];
if (!isset($known[$path]))
	refuse(404, 'There is nothing at this path.');
if (!in_array($method, $known[$path], true))
	refuse(405, 'This path does not take that method.');
if ($path === '/api/reading' && $method === 'POST')
	reading_post();
if ($path === '/api/reading')
	answer_json(readings(null));
$page = @file_get_contents(PAGE);
if ($page === false)
	refuse(500, 'The page is gone.');
if ($path === '/api/challenge')
	challenge($query, $page);
answer(200, 'text/html; charset=utf-8', $page);
