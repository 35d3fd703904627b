// The page's data, as Python wrote it, and the constants that both must agree on.

landscape.page_data = (() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const { constants } = page;

  return { page, constants };
})();
