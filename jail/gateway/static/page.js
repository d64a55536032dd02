// Keeps the tables up to date. The server renders and escapes them; without this script, reload the page.
const live = document.getElementById("live");
async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/-/live");
      if (answer.ok && !answer.redirected) live.innerHTML = await answer.text();
    } catch {
      // The gateway is away: the next time may do.
    }
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
