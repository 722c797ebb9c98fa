// Keeps this version of the site for when there is no network.
oninstall = (event) => event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)));
onactivate = (event) => event.waitUntil(caches.keys().then((names) =>
  Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)))));
onfetch = (event) => event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
