"""What a person sees who opens the measurement server in a browser."""

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Linkbell measurement server</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}code{{background:#8882;
padding:.1em .3em;border-radius:.2em}}</style></head><body>
<h1>Linkbell measurement server</h1>
<p>This machine is the far end of schools' speed tests.
It is working: {free} of {most} places for tests are free now.</p>
<p>It speaks ndt7, M-Lab's protocol, at <code>/ndt/v7/download</code> and <code>/ndt/v7/upload</code>.
A browser cannot open those addresses. To measure, run
<code>linkbell-agent speed --server URL</code> with the address of this page, or any ndt7 client.
Floor checks (<code>linkbell-agent check --server URL --floor 8M</code>) are at <code>/check/v1/</code>.</p>
<p>It answers speedtest-cli at <code>/speedtest/</code> too (<code>linkbell-agent speed --engine ookla</code>).</p>
<p>For monitoring: <code>/healthz</code> and <code>/metrics</code>.</p>
</body></html>
"""
