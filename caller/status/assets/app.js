'use strict';
(() => {
  const $ = id => document.getElementById(id);
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const link = $('link'), error = $('error');

  // Charts: the history of 15 minutes in steps of 30 seconds.
  const charts = [];
  function chart(id, unit, series) {
    const axis = { stroke: () => color('--soft'), grid: { stroke: () => color('--line'), width: 1 }, ticks: { show: false } };
    const size = () => ({ width: Math.max(200, $(id).clientWidth), height: 180 });
    const plot = new uPlot({
      ...size(), cursor: { y: false }, scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.1, 0.1)] } },
      axes: [{ ...axis, values: (_, all) => all.map(t => new Date(t * 1000).toTimeString().slice(0, 5)) }, { ...axis, size: 56, values: (_, all) => all.map(v => v + unit) }],
      series: [{ value: '{HH}:{mm}:{ss}' }, ...series.map(([label, variable, dash]) => (
        { label, stroke: () => color(variable), width: 2, dash, value: (_, v) => v == null ? '–' : v.toFixed(2) + unit }))],
    }, [[], ...series.map(() => [])], $(id));
    new ResizeObserver(() => plot.setSize(size())).observe($(id));
    charts.push(plot);
    return plot;
  }
  const calls = chart('calls', '', [['succeeded', '--good'], ['failed', '--bad', [6, 3]], ['throttled', '--warn', [2, 3]]]);
  const latency = chart('latency', ' s', [['p50', '--good'], ['p95', '--accent', [6, 3]], ['p99', '--bad', [2, 3]]]);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach(c => c.redraw()));

  function draw(history) {
    const done = history.length > 1 ? history.slice(0, -1) : history; // the last interval isn't complete
    const at = done.map(i => Date.parse(i.begin) / 1000);
    calls.setData([at, ...['succeeded', 'failed', 'throttled'].map(k => done.map(i => i[k] / 30))]);
    latency.setData([at, ...['p50', 'p95', 'p99'].map(k => done.map(i => i[k] || null))]);
  }

  // Sections come as HTML from the server, which has escaped every name in it.
  const shown = {};
  function replace(name, html) {
    if (shown[name] === html) return;
    shown[name] = html;
    const focused = document.activeElement && document.activeElement.id;
    $(name).innerHTML = html;
    if (focused && $(focused) && document.activeElement !== $(focused)) $(focused).focus();
  }
  const events = new EventSource('events');
  events.onmessage = message => {
    const e = JSON.parse(message.data);
    error.hidden = !e.error;
    error.textContent = e.error || '';
    link.textContent = e.error ? 'Redis is not reached' : 'live';
    link.classList.toggle('lost', Boolean(e.error));
    for (const name in e.sections || {}) replace(name, e.sections[name]);
    if (e.history) draw(e.history);
  };
  events.onerror = () => { link.textContent = 'connection lost, trying again'; link.classList.add('lost'); };

  // Changes: a dialog asks for the token, which stays in this page's memory.
  if (!('changes' in document.body.dataset)) return;
  const dialog = $('confirm'), refusal = $('refusal');
  let change = null, opener = '';
  document.addEventListener('click', e => {
    const b = e.target.closest('button[data-action]');
    if (!b) return;
    change = { action: b.dataset.action };
    if (b.dataset.key) change.key = b.dataset.key; else change.account = b.dataset.account;
    opener = b.id;
    const verb = change.action === 'disable' ? 'Disable' : 'Enable';
    $('question').textContent = `${verb} ${change.key ? 'key ' + change.key : 'account ' + change.account} in all processes?`;
    $('reason-label').hidden = change.action !== 'disable';
    refusal.hidden = true;
    dialog.showModal();
  });
  dialog.querySelector('form').addEventListener('submit', async e => {
    e.preventDefault();
    if (change.action === 'disable') change.reason = $('reason').value || 'disabled on the status page';
    refusal.hidden = true;
    try {
      const res = await fetch('change', {
        method: 'POST', headers: { 'Content-Type': 'application/json', 'Penstock-Token': $('token').value }, body: JSON.stringify(change),
      });
      if (res.ok) { dialog.close(); return; }
      refusal.textContent = (await res.json().catch(() => ({}))).error || `status ${res.status}`;
    } catch (err) { refusal.textContent = String(err); }
    refusal.hidden = false;
  });
  $('cancel').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => { if ($(opener)) $(opener).focus(); });
})();
