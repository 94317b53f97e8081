<?php
// A PHP application with its sessions in Redis: /login, /logout, and who it takes the caller for.
session_start();
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/login':
        session_regenerate_id(true);
        $_SESSION['user'] = ['id' => 42, 'name' => 'zoé', 'roles' => ['admin', 'ed|tor']];
        $_SESSION['again'] = &$_SESSION['user'];
        break;
    case '/touch':
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
        break;
    case '/leave':
        unset($_SESSION['user'], $_SESSION['again']);
        break;
    case '/logout':
        session_destroy();
        break;
}
header('Content-Type: application/json');
echo json_encode([
    'user' => isset($_SESSION['user']) ? (string) $_SESSION['user']['id'] : null,
    'told' => $_SERVER['HTTP_X_AUTH_SUBJECT'] ?? null,
    'roles' => $_SERVER['HTTP_X_AUTH_ROLES'] ?? null,
]);
