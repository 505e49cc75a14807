{# The sample events of a type, moved by whole days so that the last of them happened on the day of the variable
   `sample_ends_on`: without it, the day before dbt started. #}
{% macro sample_messages(name, columns) %}
    {% do config(materialized=revetl.view_kind(), enabled=var('sample_events'), access='public') %}
    {% set moments = ['timestamp', 'original_timestamp', 'sent_at', 'received_at', 'uuid_ts'] %}
    {% set ends_on = var('sample_ends_on', none) %}
    {% set last = modules.datetime.date.fromisoformat(ends_on | string) if ends_on
        else run_started_at.date() - modules.datetime.timedelta(days=1) %}
    {% set days = (last - modules.datetime.date(2011, 6, 30)).days %}
select
    id,
    user_id,
    anonymous_id,
    {%- for column in columns %}
    {{ column }},
    {%- endfor %}
    context,
    {%- for moment in moments %}
    {{ revetl.days_after(moment, days) | trim }} as {{ moment }}{{ ',' if not loop.last }}
    {%- endfor %}
from {{ ref('revetl', 'revetl_sample_' ~ name) }}
{% endmacro %}
