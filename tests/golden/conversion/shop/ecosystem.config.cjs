console.log("hi");
module.exports = { apps: [
 { name: "api", script: "./dist/server.js", instances: "max", exec_mode: "cluster", env: { NODE_ENV: "development", PORT: 3000 }, env_production: { NODE_ENV: "production" }, max_memory_restart: "300M", kill_timeout: 5000, wait_ready: true, listen_timeout: 10000, watch: ["src"], out_file: "/dev/null" },
 { name: "worker", script: "worker.py", interpreter: "./venv/bin/python", args: "--queue high --name 'a b'", cwd: "jobs", max_restarts: 10, restart_delay: 4000, cron_restart: "0 3 * * *" , instances: 3},
 { name: "next", script: "npm", args: ["run", "start"], instances: 2, increment_var: "PORT", env: { PORT: 4000 } },
 { script: "node_modules/.bin/serve -l $PORT" },
], deploy: { production: {} } };
