// Completes the addresses of the examples by this gateway's own.
for (const place of document.querySelectorAll(".origin")) place.textContent = `${location.origin}/v1`;
