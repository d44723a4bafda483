<?php echo "admin pages, ", $_SERVER["SCRIPT_NAME"];
