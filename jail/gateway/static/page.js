// Keeps the tables up to date. The server renders and escapes them; without this script, reload the page.
async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/-/live");
      if (answer.ok && !answer.redirected) {
        const now = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of ["services", "requests"]) {
          document.getElementById(id).replaceChildren(...now.getElementById(id).childNodes);
        }
      }
    } catch {
      // The gateway is away: the next time may do.
    }
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
